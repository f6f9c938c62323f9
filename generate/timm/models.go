package timm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"quicktune/internal/program"
	"quicktune/metadataset"
	"quicktune/space"
)

// Published are the 24 models of Quick-Tune, the largest first, under the names
// of its meta-dataset: millions of parameters, top-1 accuracy on ImageNet-1k,
// side of the pictures and 10^9 multiply-adds, as timm's result tables of 2022
// have them.
var Published = []metadataset.Model{
	{Name: "beit_large_patch16_512", Params: 305.67, SourceAccuracy: 0.88602, Pixels: 512, GMACs: 362.24},
	{Name: "volo_d5_512", Params: 296.09, SourceAccuracy: 0.87040, Pixels: 512, GMACs: 425.09},
	{Name: "volo_d5_448", Params: 295.91, SourceAccuracy: 0.86954, Pixels: 448, GMACs: 315.06},
	{Name: "volo_d4_448", Params: 193.41, SourceAccuracy: 0.86792, Pixels: 448, GMACs: 197.13},
	{Name: "swinv2_base_window12to24_192to384_22kft1k", Params: 87.92, SourceAccuracy: 0.87108, Pixels: 384, GMACs: 55.25},
	{Name: "beit_base_patch16_384", Params: 86.74, SourceAccuracy: 0.86798, Pixels: 384, GMACs: 55.54},
	{Name: "volo_d3_448", Params: 86.63, SourceAccuracy: 0.86496, Pixels: 448, GMACs: 96.33},
	{Name: "tf_efficientnet_b7_ns", Params: 66.35, SourceAccuracy: 0.86832, Pixels: 600, GMACs: 38.33},
	{Name: "convnext_small_384_in22ft1k", Params: 50.22, SourceAccuracy: 0.85724, Pixels: 384, GMACs: 25.58},
	{Name: "tf_efficientnet_b6_ns", Params: 43.04, SourceAccuracy: 0.86450, Pixels: 528, GMACs: 19.40},
	{Name: "volo_d1_384", Params: 26.78, SourceAccuracy: 0.85250, Pixels: 384, GMACs: 22.75},
	{Name: "xcit_small_12_p8_384_dist", Params: 26.21, SourceAccuracy: 0.85080, Pixels: 384, GMACs: 54.92},
	{Name: "deit3_small_patch16_384_in21ft1k", Params: 22.21, SourceAccuracy: 0.84824, Pixels: 384, GMACs: 15.52},
	{Name: "tf_efficientnet_b4_ns", Params: 19.34, SourceAccuracy: 0.85160, Pixels: 380, GMACs: 4.49},
	{Name: "xcit_tiny_24_p8_384_dist", Params: 12.11, SourceAccuracy: 0.83746, Pixels: 384, GMACs: 27.05},
	{Name: "xcit_tiny_12_p8_384_dist", Params: 6.71, SourceAccuracy: 0.82386, Pixels: 384, GMACs: 14.13},
	{Name: "edgenext_small", Params: 5.59, SourceAccuracy: 0.81574, Pixels: 320, GMACs: 1.97},
	{Name: "xcit_nano_12_p8_384_dist", Params: 3.05, SourceAccuracy: 0.77816, Pixels: 384, GMACs: 6.34},
	{Name: "mobilevitv2_075", Params: 2.87, SourceAccuracy: 0.75608, Pixels: 256, GMACs: 1.05},
	{Name: "edgenext_x_small", Params: 2.34, SourceAccuracy: 0.74864, Pixels: 256, GMACs: 0.68},
	{Name: "mobilevit_xs", Params: 2.32, SourceAccuracy: 0.74634, Pixels: 256, GMACs: 1.05},
	{Name: "edgenext_xx_small", Params: 1.33, SourceAccuracy: 0.71106, Pixels: 256, GMACs: 0.33},
	{Name: "mobilevit_xxs", Params: 1.27, SourceAccuracy: 0.68920, Pixels: 256, GMACs: 0.42},
	{Name: "dla46x_c", Params: 1.07, SourceAccuracy: 0.65952, Pixels: 224, GMACs: 0.54},
}

// topOne has the top-1 accuracy on ImageNet-1k of further models, as timm's
// result table of 2025 has it.
var topOne = map[string]float64{
	"tf_efficientnet_lite0": 0.74830,
	"tf_efficientnet_lite1": 0.76644,
	"tf_efficientnet_lite2": 0.77464,
}

// Python is an interpreter with the worker's sources.
type Python struct {
	Interpreter string
	Root        string // as Install returns it
}

// command is a run of the worker.
func (p Python) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, p.Interpreter, append([]string{"-m", "timm_worker"}, args...)...)
	c.Env = append(os.Environ(), Environment(p.Root)...)
	return c
}

// Models describes models in the order of their names. Those of Quick-Tune at
// their own size are known; of others the worker counts the parameters and the
// multiply-adds, and the accuracy of most is unknown.
func (p Python) Models(ctx context.Context, names []string, imageSize int) ([]metadataset.Model, error) {
	counted := make(map[string]metadataset.Model)
	var ask []string
	for _, n := range names {
		if i := published(n); i < 0 || imageSize > 0 {
			ask = append(ask, n)
		}
	}
	if len(ask) > 0 {
		var err error
		if counted, err = p.count(ctx, ask, imageSize); err != nil {
			return nil, err
		}
	}
	var list []metadataset.Model
	for _, n := range names {
		m, asked := counted[n]
		if accuracy, ok := topOne[n]; ok {
			m.SourceAccuracy = accuracy
		}
		if i := published(n); i >= 0 {
			if !asked {
				m = Published[i]
			}
			m.SourceAccuracy = Published[i].SourceAccuracy
		}
		list = append(list, m)
	}
	return list, nil
}

func published(name string) int {
	return slices.IndexFunc(Published, func(m metadataset.Model) bool { return m.Name == name })
}

func (p Python) count(ctx context.Context, names []string, imageSize int) (map[string]metadataset.Model, error) {
	cmd := p.command(ctx, "describe", "--models", strings.Join(names, ","), "--image-size", strconv.Itoa(imageSize))
	var words program.Words
	cmd.Stderr = &words
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	found := make(map[string]metadataset.Model)
	s := bufio.NewScanner(bytes.NewReader(out))
	for s.Scan() {
		var l struct {
			Type, Model, Reason string
			Params              float64 `json:"params_millions"`
			GMACs               float64
			Pixels              float64
		}
		if jsonErr := json.Unmarshal(s.Bytes(), &l); jsonErr != nil {
			return nil, fmt.Errorf("the worker describes a model by %q", s.Text())
		}
		if l.Type == "unfit" {
			return nil, errors.New(l.Reason)
		}
		found[l.Model] = metadataset.Model{Name: l.Model, Params: l.Params, SourceAccuracy: math.NaN(), Pixels: l.Pixels, GMACs: l.GMACs}
	}
	if err == nil && len(found) < len(names) {
		err = fmt.Errorf("only %d of %d models were described", len(found), len(names))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, words.Last())
	}
	return found, nil
}

// Space is the search space of Quick-Tune, see [space.QuickTune], for a list of
// models and a number of epochs. Batches of every size are in it; a batch that
// is larger than a data set is the whole set.
func Space(models []string, epochs int) (*space.Space, error) {
	if epochs < 1 {
		return nil, fmt.Errorf("a plan of %d epochs: at least 1 is needed", epochs)
	}
	base := space.QuickTune()
	params := make([]space.Hyperparameter, base.Len())
	for i := range params {
		params[i] = base.Param(i)
		switch params[i].Name {
		case "epochs":
			params[i].Choices = []space.Value{space.Int(int64(epochs))}
		case "model":
			params[i].Choices = nil
			for _, m := range models {
				params[i].Choices = append(params[i].Choices, space.String(m))
			}
		}
	}
	return space.New("timm", params, base.Conditions())
}

// EpochSeconds estimates what a training picture costs in an epoch, evaluation
// included, on the RTX 2080 Ti of the published curves: the medians of the 24
// models lie near 4.5 ms and 0.75 ms for each 10^9 multiply-adds.
func EpochSeconds(m metadataset.Model) float64 { return 0.0045 + 0.00075*m.GMACs }
