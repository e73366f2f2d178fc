package ecs

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// diagnosis reads the end of a task in the words that Prefect's own observer
// logs, on which people search and alert: "<summary>: <detail> Resolution: …".
type diagnosis struct{ summary, detail, resolution string }

func (d diagnosis) String() string {
	return fmt.Sprintf("%s: %s Resolution: %s", d.summary, d.detail, d.resolution)
}

// diagnose looks at what ECS says of a stopped task as a whole; the first
// condition that holds is told.
func diagnose(task types.Task) diagnosis {
	reason := aws.ToString(task.StoppedReason)
	switch {
	case strings.Contains(reason, "CannotPullContainerError"):
		return diagnosis{
			"Container image pull failed", reason,
			"Verify that the container image exists and the URI is correct. If the image is in a private registry, ensure the task execution role " +
				"has permissions to pull from it and that a repository authentication configuration is attached to the container definition.",
		}
	case task.StopCode == types.TaskStopCodeTaskFailedToStart:
		return diagnosis{
			"ECS task failed to start", firstOf(reason, "Task failed to start (no additional detail)."),
			"Check the stopped reason for specifics. Common causes include resource limits, missing IAM permissions, or networking misconfigurations. " +
				"Review the ECS task and execution role policies.",
		}
	default:
		return diagnoseCodes(task)
	}
}

func diagnoseCodes(task types.Task) diagnosis {
	var parts, without []string
	for _, container := range task.Containers {
		name := firstOf(aws.ToString(container.Name), "<unknown>")
		switch {
		case container.ExitCode == nil:
			without = append(without, "'"+name+"'")
		case *container.ExitCode != 0:
			parts = append(parts, fmt.Sprintf("Container '%s' exited with code %d.", name, *container.ExitCode))
		}
	}
	failed := len(parts) > 0
	if len(without) > 0 {
		parts = append(parts, fmt.Sprintf("Container(s) %s had no exit code, indicating the task was terminated by ECS or the underlying infrastructure.", strings.Join(without, ", ")))
	}
	d := diagnosis{detail: firstOf(strings.Join(parts, " "), "No container exit code details available.")}
	switch {
	case task.StopCode == types.TaskStopCodeEssentialContainerExited:
		d.summary = "Essential container exited"
		d.resolution = "An essential container in the task exited, causing the task to stop. Check the container logs for errors. If the exit was due to an " +
			"application error, fix the underlying issue. If the container was killed by the infrastructure, consider increasing memory or CPU limits."
	case len(without) > 0 && !failed:
		d.summary = "Task terminated by infrastructure"
		d.resolution = "The task was stopped without container exit codes, which typically means ECS or the underlying infrastructure killed the task. " +
			"Common causes include spot instance interruptions, scaling events, or manual stops. Check CloudTrail and ECS service events for more context."
	default:
		d.summary = "Container exited with non-zero exit code"
		d.resolution = "One or more containers exited with a non-zero status code. Check the container logs in CloudWatch for error details. " +
			"Exit code 137 often indicates an out-of-memory condition — consider increasing the task memory allocation."
	}
	return d
}
