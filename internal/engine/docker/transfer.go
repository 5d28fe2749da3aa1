// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/errdefs/pkg/errhttp"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
)

// PullImage implements engine.Images.
func (e *Engine) PullImage(ctx context.Context, name string, progress func(string)) error {
	auth, err := e.registryAuth(name)
	if err != nil {
		return fmt.Errorf("cannot pull image %s: %w", name, err)
	}
	stream, err := e.api.ImagePull(ctx, name, client.ImagePullOptions{RegistryAuth: auth})
	if err != nil {
		return e.fail(err, "pull image %s", name)
	}
	defer stream.Close()
	return e.fail(inContext(ctx, readMessages(stream, reporter(progress))), "pull image %s", name)
}

// PushImage sends an image to the registry in its name; progress may be nil.
func (e *Engine) PushImage(ctx context.Context, name string, progress func(string)) error {
	auth, err := e.registryAuth(name)
	if err != nil {
		return fmt.Errorf("cannot push image %s: %w", name, err)
	}
	if auth == "" {
		// Engines before 23 refuse a push without the header, even where nothing is to be said.
		if auth, err = authconfig.Encode(registry.AuthConfig{}); err != nil {
			return fmt.Errorf("cannot push image %s: %w", name, err)
		}
	}
	stream, err := e.api.ImagePush(ctx, name, client.ImagePushOptions{RegistryAuth: auth})
	if err != nil {
		return e.fail(err, "push image %s", name)
	}
	defer stream.Close()
	return e.fail(inContext(ctx, readMessages(stream, reporter(progress))), "push image %s", name)
}

// SaveImage writes images with their references as one docker-archive, which LoadImage reads.
func (e *Engine) SaveImage(ctx context.Context, w io.Writer, references ...string) error {
	stream, err := e.api.ImageSave(ctx, references)
	if err != nil {
		return e.fail(err, "save the images %q", references)
	}
	defer stream.Close()
	_, err = io.Copy(w, stream)
	return e.fail(inContext(ctx, err), "save the images %q", references)
}

// ImportImage makes an image of one layer from a tar archive of a file system. Changes are
// lines of a Dockerfile that set the image's configuration, such as `ENTRYPOINT ["/init"]`.
func (e *Engine) ImportImage(ctx context.Context, archive io.Reader, name string, changes ...string) error {
	stream, err := e.api.ImageImport(ctx,
		client.ImageImportSource{Source: archive, SourceName: "-"}, name,
		client.ImageImportOptions{Changes: changes})
	if err != nil {
		return e.fail(err, "import image %s", name)
	}
	defer stream.Close()
	return e.fail(inContext(ctx, readMessages(stream, func(jsonstream.Message) {})), "import image %s", name)
}

// registryAuth is the header that carries the credentials for an image's registry.
func (e *Engine) registryAuth(name string) (string, error) {
	if e.credentials == nil {
		return "", nil
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", err
	}
	user, password, err := e.credentials(reference.Domain(named))
	if err != nil {
		return "", fmt.Errorf("no credentials for %s: %w", reference.Domain(named), err)
	}
	if user == "" {
		return "", nil
	}
	return authconfig.Encode(registry.AuthConfig{
		Username: user, Password: password, ServerAddress: reference.Domain(named),
	})
}

// statusError gives an error inside a report the type that its status code stands for.
type statusError struct {
	report *jsonstream.Error
	kind   error
}

// Error is the engine's own text.
func (e statusError) Error() string { return e.report.Message }

// Unwrap makes errdefs recognise the kind.
func (e statusError) Unwrap() error { return e.kind }

func withStatus(err *jsonstream.Error) error {
	if kind := errhttp.ToNative(err.Code); kind != nil {
		return statusError{report: err, kind: kind}
	}
	return err
}

// inContext replaces an error that the end of ctx caused by the end of ctx.
func inContext(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
