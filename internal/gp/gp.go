// Package gp holds the exact Gaussian processes of the predictor and of the
// methods that it is compared with: Cholesky factors that grow by rows, marginal
// likelihoods with gradients, and posteriors over many candidates at once.
//
// It refuses to choose hyperparameters, to scale inputs and targets, and to
// approximate: everything is cubic in the rows when fitted and quadratic when
// rows are added.
package gp
