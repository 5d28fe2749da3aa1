// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"

	"copse/internal/tree"
)

// GuestImage is the name, in the catalogue of images, of the one that Guest comes from.
const GuestImage = "guest"

// What the guest's init (catalog/images/guest) says and offers.
const (
	guestMark  = "copse-guest: "
	guestReady = guestMark + "ready"
	guestPort  = 8080
	dataSize   = 256 << 10
)

// commandLine is the kernel's: where the guest speaks, and that it starts again when it dies.
const commandLine = "console=ttyS0 panic=1 quiet"

// Guest is what a server is started from.
type Guest struct {
	Kernel, Ramdisk, Disk []byte
}

// GuestEngine is the part of a container engine that has the guest's image.
type GuestEngine interface {
	Create(ctx context.Context, name string, spec tree.Spec) (id string, err error)
	CopyFrom(ctx context.Context, id, path string) (io.ReadCloser, error)
	Remove(ctx context.Context, id string, force bool) error
}

// TakeGuest takes the guest's files out of its image, by a container that is never started.
func TakeGuest(ctx context.Context, engine GuestEngine, reference string) (guest Guest, err error) {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // it never fails, by its documentation
	// An engine wants a command even for what is not started.
	spec := tree.Spec{Image: reference, Command: []string{"/kernel"}, NetworkMode: "none"}
	id, err := engine.Create(whole(ctx), "copse-guest-"+hex.EncodeToString(random), spec)
	if err != nil {
		return Guest{}, fmt.Errorf("cannot take the guest out of image %s: %w", reference, err)
	}
	defer func() { err = errors.Join(err, engine.Remove(whole(ctx), id, true)) }()
	for path, into := range map[string]*[]byte{"/kernel": &guest.Kernel, "/initramfs": &guest.Ramdisk, "/disk": &guest.Disk} {
		archive, err := engine.CopyFrom(ctx, id, path)
		if err != nil {
			return Guest{}, fmt.Errorf("cannot take the guest out of image %s: %w", reference, err)
		}
		*into, err = firstFile(archive)
		if err := errors.Join(err, archive.Close()); err != nil {
			return Guest{}, fmt.Errorf("cannot take %s out of image %s: %w", path, reference, err)
		}
	}
	return guest, nil
}

// firstFile reads the first file of a tar archive, which must not be empty.
func firstFile(archive io.Reader) ([]byte, error) {
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if err != nil {
			return nil, fmt.Errorf("there is no file in the archive: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(reader)
		if err == nil && len(content) == 0 {
			err = errors.New("the file is empty")
		}
		return content, err
	}
}

// images uploads the guest as three images, as nova wants a kernel of its own, and reads one back.
func (r *run) images(ctx context.Context) (string, error) {
	if r.Guest == nil {
		return "", errors.New("cannot upload an image: there is no guest")
	}
	r.tell("taking the guest out of its image")
	guest, err := r.Guest(ctx)
	if err != nil {
		return "", err
	}
	glance, err := r.user.image()
	if err != nil {
		return "", err
	}
	if r.kernel, err = r.upload(ctx, glance, "aki", guest.Kernel, nil); err != nil {
		return "", err
	}
	if r.ramdisk, err = r.upload(ctx, glance, "ari", guest.Ramdisk, nil); err != nil {
		return "", err
	}
	r.image, err = r.upload(ctx, glance, "ami", guest.Disk, map[string]string{
		"kernel_id": r.kernel, "ramdisk_id": r.ramdisk, "os_command_line": commandLine,
	})
	if err != nil {
		return "", err
	}
	r.tell("reading the ramdisk back")
	stored, err := imagedata.Download(ctx, glance, r.ramdisk).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot read the ramdisk back: %w", err)
	}
	content, err := io.ReadAll(io.LimitReader(stored, int64(len(guest.Ramdisk))+1))
	if err != nil {
		return "", fmt.Errorf("cannot read the ramdisk back: %w", err)
	}
	if !bytes.Equal(content, guest.Ramdisk) {
		return "", fmt.Errorf("the ramdisk came back from glance with other content: %d bytes were sent, %d or more came", len(guest.Ramdisk), len(content))
	}
	return fmt.Sprintf("%.1f MiB", float64(len(guest.Kernel)+len(guest.Ramdisk)+len(guest.Disk))/(1<<20)), nil
}

// upload makes one image and fills it.
func (r *run) upload(ctx context.Context, glance *gophercloud.ServiceClient, format string, content []byte, properties map[string]string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	r.tell("uploading %d KiB as %s", len(content)>>10, format)
	image, err := images.Create(whole(ctx), glance, images.CreateOpts{
		Name: r.name, ContainerFormat: format, DiskFormat: format, Properties: properties,
	}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot make an image of format %s: %w", format, err)
	}
	if err := imagedata.Upload(whole(ctx), glance, image.ID, bytes.NewReader(content)).ExtractErr(); err != nil {
		return "", fmt.Errorf("cannot upload %d KiB into the image of format %s: %w", len(content)>>10, format, err)
	}
	return image.ID, r.wait(ctx, "image "+image.ID+" is active", func(ctx context.Context) (bool, string, error) {
		now, err := images.Get(ctx, glance, image.ID).Extract()
		if err != nil {
			return false, "", fmt.Errorf("cannot look at image %s: %w", image.ID, err)
		}
		return now.Status == images.ImageStatusActive, "it is " + string(now.Status), nil
	})
}
