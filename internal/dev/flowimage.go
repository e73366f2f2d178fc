package dev

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"faber/internal/image"
)

//go:embed flows/*.py
var sampleFlows embed.FS

// flowBase is the image that users' own flow images are made from.
const flowBase = "docker.io/prefecthq/prefect:" + PrefectVersion + "-python3.11"

// flowImage makes the image that flow runs start in: Prefect's own image when
// its registry can be reached, else one built here from Debian's and Python's
// packages; the sample flows on top.
func (u *up) flowImage(ctx context.Context, step *Step) error {
	flows, err := readFlows()
	if err != nil {
		return err
	}
	base, origin, err := u.flowBase(ctx, step)
	if err != nil {
		return err
	}
	img, err := image.WithFlows(base, flows)
	if err != nil {
		return err
	}
	step.Note("loading the image")
	u.state.FlowImage, err = u.loadImage(ctx, "localhost/faber/flow", img)
	step.Done("%s (%s)", u.state.FlowImage, origin)
	return err
}

func readFlows() (map[string][]byte, error) {
	flows := map[string][]byte{}
	err := fs.WalkDir(sampleFlows, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := sampleFlows.ReadFile(name)
		flows[filepath.Base(name)] = data
		return err
	})
	return flows, err
}

// flowBase finds the base image: one that was made or pulled before, else the
// registry's, else one built here. Whichever it was is kept as an archive.
func (u *up) flowBase(ctx context.Context, step *Step) (v1.Image, string, error) {
	arch := u.state.Engine.Arch
	sum := sha256.Sum256([]byte(prefectRequirements + flowBase + arch + rootFSRecipe))
	archive := filepath.Join(u.Layout.Cache(), "flow-base-"+hex.EncodeToString(sum[:6])+".tar")
	if img, err := tarball.ImageFromPath(archive, nil); err == nil {
		return img, "kept", nil
	}
	step.Note("asking the registry for %s", flowBase)
	img, origin, err := u.pullFlowBase(ctx, arch)
	switch {
	case err == nil:
		step.Note("reading the image")
		err = keepArchive(archive, img)
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	default:
		err = u.buildFlowBase(ctx, step, arch, archive, err)
		origin = "built from Debian and PyPI packages"
	}
	if err != nil {
		return nil, "", err
	}
	img, err = tarball.ImageFromPath(archive, nil)
	return img, origin, err
}

func (u *up) pullFlowBase(ctx context.Context, arch string) (v1.Image, string, error) {
	if source, _ := u.Env("FABER_FLOW_IMAGE"); source == "build" {
		return nil, "", errors.New("FABER_FLOW_IMAGE=build asks for one built here")
	}
	// The manifest answers at once where there is a registry at all.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	img, err := image.Pull(ctx, flowBase, arch)
	return img, "from " + flowBase, err
}

func keepArchive(archive string, img v1.Image) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(archive), ".flow-base-*")
	if err != nil {
		return fmt.Errorf("keep the flow image: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	err = image.WriteArchive("localhost/faber/flow-base:kept", img, temp)
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), archive)
}

// rootFSRecipe is part of the cached image's name: change it with the steps of
// buildFlowBase.
const rootFSRecipe = "bookworm minbase python3 v1"

// buildFlowBase makes the base image from packages and writes it to an archive.
// It needs Linux and root, as debootstrap does.
func (u *up) buildFlowBase(ctx context.Context, step *Step, arch, archive string, pullErr error) error {
	debootstrap, err := u.findDebootstrap(ctx, step, pullErr)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(u.Layout.Cache(), "rootfs-*")
	if err != nil {
		return fmt.Errorf("make a directory for the flow image: %w", err)
	}
	defer os.RemoveAll(work)
	root := filepath.Join(work, "root")
	step.Note("debootstrap: a minimal Debian with Python")
	err = u.run(ctx, debootstrap, "--variant=minbase", "--include=python3,ca-certificates", "bookworm", root)
	if err != nil {
		return &Problem{
			Message: "a Debian file system for the flow image could not be made",
			Hint:    "it needs Debian's package mirror; or make " + flowBase + " reachable",
			Err:     err,
		}
	}
	if err := u.installPrefect(ctx, step, root); err != nil {
		return err
	}
	for _, waste := range []string{"var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"} {
		if err := os.RemoveAll(filepath.Join(root, waste)); err != nil {
			return fmt.Errorf("slim the flow image: %w", err)
		}
	}
	step.Note("packing the image")
	scratch := filepath.Join(work, "root.tar")
	img, err := image.FromRootFS(ctx, root, arch, []string{
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"PYTHONPATH=/opt/prefect",
		"PYTHONUNBUFFERED=1",
		"PYTHONDONTWRITEBYTECODE=1",
	}, scratch)
	if err != nil {
		return err
	}
	return keepArchive(archive, img)
}

func (u *up) findDebootstrap(ctx context.Context, step *Step, pullErr error) (string, error) {
	problem := &Problem{
		Message: "no flow image: " + flowBase + " cannot be pulled, and one cannot be built here",
		Hint:    "make the registry reachable; building needs Linux, root and debootstrap",
		Err:     pullErr,
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return "", problem
	}
	path, err := lookPath(u.Options, "debootstrap")
	if err == nil || !canApt(u.Options) {
		if err != nil {
			return "", problem
		}
		return path, nil
	}
	if err := aptInstall(ctx, u.Options, step, "debootstrap", "debian-archive-keyring"); err != nil {
		return "", err
	}
	return lookPath(u.Options, "debootstrap")
}

// prefectScript is the program `prefect` of an image whose packages were
// installed beside the interpreter.
const prefectScript = "#!/bin/sh\nexec python3 -m prefect \"$@\"\n"

func (u *up) installPrefect(ctx context.Context, step *Step, root string) error {
	step.Note("installing Prefect into it")
	uv, err := u.ensureUV(ctx, step)
	if err != nil {
		return err
	}
	list, err := u.requirementsFile("prefect", prefectRequirements)
	if err != nil {
		return err
	}
	err = u.run(ctx, uv, "pip", "install", "--quiet", "--require-hashes", "--python-version", "3.11", "--only-binary", ":all:",
		"--link-mode", "copy", "--target", filepath.Join(root, "opt/prefect"), "--requirements", list)
	if err != nil {
		return fmt.Errorf("install Prefect into the flow image: %w", err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/local/bin/prefect"), []byte(prefectScript), 0o755); err != nil { //nolint:gosec // a program
		return fmt.Errorf("write the prefect program: %w", err)
	}
	if err := os.Symlink("python3", filepath.Join(root, "usr/bin/python")); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("link python: %w", err)
	}
	step.Note("compiling it, so that every run starts faster")
	compile := exec.CommandContext(ctx, "chroot", root, "/usr/bin/python3", "-m", "compileall", "-q", "-j", "0", "/opt/prefect")
	compile.Env = []string{"PATH=/usr/bin:/bin"}
	if out, err := compile.CombinedOutput(); err != nil && ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		// A file of some package that is no valid Python does not matter.
		u.Logger.Debug("compile the flow image's packages", "error", err, "output", string(out))
	}
	return nil
}
