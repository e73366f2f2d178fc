package fakeaws

import "time"

// statuses are those of a task's life, in order.
var statuses = []string{"PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"}

// move brings a task's detail into a status.
func move(detail object, status string, now time.Time) {
	detail["lastStatus"], detail["updatedAt"] = status, now
	switch status {
	case "PROVISIONING", "PENDING", "ACTIVATING":
		moveContainers(detail, "PENDING")
	case "RUNNING":
		for _, key := range []string{"pullStartedAt", "pullStoppedAt", "connectivityAt", "startedAt"} {
			setDefault(detail, key, now)
		}
		detail["connectivity"] = "CONNECTED"
		moveContainers(detail, "RUNNING")
	case "DEACTIVATING", "STOPPING":
		end(detail, now)
	case "DEPROVISIONING":
		end(detail, now)
		endContainers(detail, now)
	case "STOPPED":
		end(detail, now)
		endContainers(detail, now)
		setDefault(detail, "stoppedAt", now)
	}
}

// end says why a task is to stop, unless that is said already.
func end(detail object, now time.Time) {
	detail["desiredStatus"] = "STOPPED"
	setDefault(detail, "stoppingAt", now)
	if detail["startedAt"] != nil {
		setDefault(detail, "stopCode", "EssentialContainerExited")
		setDefault(detail, "stoppedReason", "Essential container in task exited")
		return
	}
	setDefault(detail, "stopCode", "TaskFailedToStart")
	setDefault(detail, "stoppedReason", "Task failed to start")
}

func endContainers(detail object, now time.Time) {
	setDefault(detail, "executionStoppedAt", now)
	moveContainers(detail, "STOPPED")
	if detail["startedAt"] == nil {
		return
	}
	for _, container := range objects(detail["containers"]) {
		setDefault(container, "exitCode", 0)
	}
}

func moveContainers(detail object, status string) {
	for _, container := range objects(detail["containers"]) {
		container["lastStatus"] = status
		if status == "RUNNING" {
			setDefault(container, "runtimeId", lastPart(text(detail, "taskArn"))+"-"+text(container, "name"))
		}
	}
}

// A Change is one more thing that Task.Set does to the detail of a task: what
// DescribeTasks and events show, with times as time.Time. It must not use the
// server.
type Change func(detail map[string]any)

// Exit has all containers end with a code.
func Exit(code int) Change {
	return func(detail map[string]any) {
		for _, container := range objects(detail["containers"]) {
			container["exitCode"] = code
		}
	}
}

// ExitOf has one container end with a code.
func ExitOf(name string, code int) Change { return ofContainer(name, "exitCode", code) }

// NoExitCode has no container tell a code, as when the host is gone.
func NoExitCode() Change {
	return func(detail map[string]any) {
		for _, container := range objects(detail["containers"]) {
			delete(container, "exitCode")
		}
	}
}

// NoContainers leaves the list of containers empty, as when a task could not be
// placed.
func NoContainers() Change { return With("containers", []any{}) }

// ContainerReason is why a container stopped, e.g. "OutOfMemoryError: …".
func ContainerReason(name, reason string) Change { return ofContainer(name, "reason", reason) }

// StopCode is why the task stopped, e.g. "SpotInterruption".
func StopCode(code string) Change { return With("stopCode", code) }

// Reason is the stoppedReason.
func Reason(text string) Change { return With("stoppedReason", text) }

// With sets any field; nil removes it.
func With(key string, value any) Change {
	return func(detail map[string]any) {
		if value == nil {
			delete(detail, key)
			return
		}
		detail[key] = value
	}
}

func ofContainer(name, key string, value any) Change {
	return func(detail map[string]any) {
		for _, container := range objects(detail["containers"]) {
			if container["name"] == name {
				container[key] = value
			}
		}
	}
}
