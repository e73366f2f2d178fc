package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Pull reads an image of the given architecture from its registry, with the
// credentials that the docker or podman login on this machine left.
func Pull(ctx context.Context, reference, arch string) (v1.Image, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, fmt.Errorf("parse image name %s: %w", reference, err)
	}
	img, err := remote.Image(ref,
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}),
	)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", reference, err)
	}
	return img, nil
}

// Push writes an image to its registry and returns the name with its digest,
// which is the name to deploy.
func Push(ctx context.Context, reference string, img v1.Image) (string, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return "", fmt.Errorf("parse image name %s: %w", reference, err)
	}
	err = remote.Write(ref, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return "", fmt.Errorf("push %s: %w", reference, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", reference, err)
	}
	return ref.Context().Digest(digest.String()).Name(), nil
}

// SaveArchive writes the image to a file, as WriteArchive does.
func SaveArchive(reference string, img v1.Image, file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("save %s: %w", reference, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return WriteArchive(reference, img, f)
}

// WriteArchive writes the image in the form that `docker load` and `podman load`
// read, under the given name.
func WriteArchive(reference string, img v1.Image, w io.Writer) error {
	ref, err := name.NewTag(reference)
	if err != nil {
		return fmt.Errorf("parse image name %s: %w", reference, err)
	}
	if err := tarball.Write(ref, img, w); err != nil {
		return fmt.Errorf("write %s as an archive: %w", reference, err)
	}
	return nil
}
