package vec

import "quicktune/internal/blas"

//go:generate go -C gen run . -out ../kernels_amd64.s -stubs ../kernels_asm_amd64.go -pkg vec

// tables holds the kernels of the paths that have any.
var tables = [...]*table{
	blas.AVX2: {
		add256, mul256, scale256, axpy256, relu256, reluGrad256, gelu256, geluGrad256, adam256,
		colSums256, colMoments256, colDots256, colAffine256, colAffineReLU256, colCombine256,
		rowNorm256, rowNormGrad256, softmax256, softmaxGrad256, depthwise256, depthwiseGrad3256, depthwiseGrad5256, maxPool256, maxPoolGrad256,
	},
	blas.AVX512: {
		add512, mul512, scale512, axpy512, relu512, reluGrad512, gelu512, geluGrad512, adam512,
		colSums512, colMoments512, colDots512, colAffine512, colAffineReLU512, colCombine512,
		rowNorm512, rowNormGrad512, softmax512, softmaxGrad512, depthwise512, depthwiseGrad3512, depthwiseGrad5512, maxPool512, maxPoolGrad512,
	},
}
