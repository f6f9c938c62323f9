package selection_test

import (
	"fmt"
	"log"

	"quicktune/selection"
	"quicktune/selection/evaluate"
)

// Two models look at the same six images of two classes; the features of the
// second tell the classes apart.
func Example() {
	labels := []int{0, 0, 0, 1, 1, 1}
	var scores []float64
	for _, features := range [][]float64{
		{0.1, 0.9, 0.8, 0.2, 0.5, 0.4, 0.2, 0.7, 0.9, 0.3, 0.4, 0.6},
		{0.9, 0.1, 0.8, 0.2, 0.9, 0.3, 0.1, 0.7, 0.2, 0.9, 0.1, 0.8},
	} {
		p, err := selection.NewProbe(selection.Data{Labels: labels, Features: features, Dim: 2})
		if err != nil {
			log.Fatal(err)
		}
		score, err := selection.LFC{}.Score(p)
		if err != nil {
			log.Fatal(err)
		}
		scores = append(scores, score)
		fmt.Printf("%.2f\n", score)
	}
	fmt.Println("first to try:", evaluate.Order(scores))
	// Output:
	// 0.00
	// 0.92
	// first to try: [1 0]
}
