// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http"

	"copse/internal/api"
)

func (a *Agent) postPrune(w http.ResponseWriter, r *http.Request) error {
	var asked api.PruneRequest
	if err := decode(w, r, &asked); err != nil {
		return err
	}
	pruned, err := a.deployer.Prune(r.Context(), asked.DryRun)
	if err != nil {
		return err
	}
	answer := api.Prune{Images: []api.PrunedImage{}, DryRun: asked.DryRun}
	for _, p := range pruned {
		image := api.PrunedImage{ID: p.Image.ID, References: p.Image.References, Size: p.Image.Size}
		if p.Err != nil {
			image.Error = p.Err.Error()
		} else {
			answer.Bytes += p.Image.Size
		}
		answer.Images = append(answer.Images, image)
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}
