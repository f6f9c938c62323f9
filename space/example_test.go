package space_test

import (
	"fmt"

	"quicktune/internal/stream"
	"quicktune/space"
)

func Example() {
	s, err := space.New("example", []space.Hyperparameter{
		{Name: "opt", Type: space.Categorical, Choices: []space.Value{space.String("sgd"), space.String("adam")}},
		{Name: "momentum", Type: space.Ordinal, Choices: []space.Value{space.Float(0.8), space.Float(0.9)}, Default: space.Float(0.9)},
		{Name: "clip_grad", Type: space.Ordinal, Choices: []space.Value{space.None, space.Int(1), space.Int(10)}},
	}, []space.Condition{
		{Child: "momentum", AnyOf: [][]space.Clause{{{Parent: "opt", Op: space.In, Values: []space.Value{space.String("sgd")}}}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	size, _ := s.Size()
	fmt.Println(size, "configurations")

	c, err := s.ConfigFromMap(map[string]space.Value{"opt": space.String("adam"), "clip_grad": space.None})
	fmt.Println(s.Format(c), err)

	c[s.Index("momentum")] = space.Float(0.8)
	fmt.Println(s.Validate(c))
	// Output:
	// 9 configurations
	// opt=adam, clip_grad=None <nil>
	// hyperparameter "momentum" is 0.8 but does not apply: leave it out, or make opt in sgd hold
}

func ExampleEncoding() {
	s, err := space.Parse([]byte(`{"format": "quicktune-space", "version": 1, "name": "example", "hyperparameters": [
		{"name": "opt", "type": "categorical", "choices": ["sgd", "adam"]},
		{"name": "lr", "type": "ordinal", "choices": [0.001, 0.01, 0.1], "log": true},
		{"name": "momentum", "type": "ordinal", "choices": [0.8, 0.9]}
	], "conditions": [{"child": "momentum", "any_of": [[{"parent": "opt", "op": "in", "values": ["sgd"]}]]}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	rng := stream.New("example", 1)
	var train []space.Config
	for range 100 {
		train = append(train, s.Sample(rng))
	}
	encoding, err := space.NewEncoding(s, space.EncodingOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	encoder, err := encoding.Fit(train)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(encoder.Columns())
	c, err := encoder.Decode(encoder.Encode(nil, train[0]))
	fmt.Println(s.Format(c) == s.Format(train[0]), err)
	// Output:
	// [opt=sgd opt=adam lr momentum momentum:active]
	// true <nil>
}
