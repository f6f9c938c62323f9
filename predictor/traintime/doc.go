// Package traintime predicts how many optimisation steps a pretrained network
// needs on a data set, without training it.
//
// Fine-tuning moves the weights little, so the outputs of the network follow
// closely those of its linearisation at the initial weights,
//
//	f(x) = f0(x) + J(x) (w - w0),
//
// and these can be simulated without any weights: with N samples and C outputs
// they are N*C numbers, driven by the N*C x N*C neural tangent kernel
// Theta = J Jᵀ. One kernel of a (network, data set) serves every learning rate,
// momentum, batch size, weight decay and schedule.
//
// The method is that of Zancato, Achille, Ravichandran, Bhotika and Soatto,
// "Predicting Training Time Without Training", NeurIPS 2020 (arXiv:2008.12478).
// Its Algorithm 1 is in paper.go, in the paper's order. Beside it there is a
// simulation that keeps what the paper approximates: discrete steps, the state
// of the momentum, real mini-batches ([Exact]).
//
// # Conventions
//
// Outputs and targets are row-major N x C matrices: class c of sample i is at
// i*C+c, and so are the rows of a kernel. A loss is the mean over the samples
// of 1/2 |f-y|² (MSE) or of the cross-entropy of softmax(f) (CE). Steps count
// updates of the weights from 0; times are steps, never epochs. Rates are those
// of torch.optim.SGD with dampening 0.
//
// # What it refuses to do
//
// It never trains or touches a network: what it needs of one is behind
// [Network] and [Jacobian], which package tangent gives for the embedded ones.
// Where the linearisation cannot be trusted it does
// not correct silently but says so, with the reason ([Problem.Trust]); an
// adaptive optimiser such as Adam is no gradient descent in function space and
// is always flagged. A simulation that diverges is reported as diverged, not
// cut off at a large number. Systematic errors are for [FitCalibration], which
// needs measured runs.
package traintime
