"""The 24 models of Quick-Tune under the names they have today.

timm renamed models in 2023: an architecture, a dot and the weights. The left names are
those of the published meta-dataset and of every plan; the right ones exist in timm 0.9
and later. A name that is not in the table is used as it is.
"""

TODAY = {
    "beit_large_patch16_512": "beit_large_patch16_512.in22k_ft_in22k_in1k",
    "volo_d5_512": "volo_d5_512.sail_in1k",
    "volo_d5_448": "volo_d5_448.sail_in1k",
    "volo_d4_448": "volo_d4_448.sail_in1k",
    "swinv2_base_window12to24_192to384_22kft1k": "swinv2_base_window12to24_192to384.ms_in22k_ft_in1k",
    "beit_base_patch16_384": "beit_base_patch16_384.in22k_ft_in22k_in1k",
    "volo_d3_448": "volo_d3_448.sail_in1k",
    "tf_efficientnet_b7_ns": "tf_efficientnet_b7.ns_jft_in1k",
    "convnext_small_384_in22ft1k": "convnext_small.fb_in22k_ft_in1k_384",
    "tf_efficientnet_b6_ns": "tf_efficientnet_b6.ns_jft_in1k",
    "volo_d1_384": "volo_d1_384.sail_in1k",
    "xcit_small_12_p8_384_dist": "xcit_small_12_p8_384.fb_dist_in1k",
    "deit3_small_patch16_384_in21ft1k": "deit3_small_patch16_384.fb_in22k_ft_in1k",
    "tf_efficientnet_b4_ns": "tf_efficientnet_b4.ns_jft_in1k",
    "xcit_tiny_24_p8_384_dist": "xcit_tiny_24_p8_384.fb_dist_in1k",
    "xcit_tiny_12_p8_384_dist": "xcit_tiny_12_p8_384.fb_dist_in1k",
    "edgenext_small": "edgenext_small.usi_in1k",
    "xcit_nano_12_p8_384_dist": "xcit_nano_12_p8_384.fb_dist_in1k",
    "mobilevitv2_075": "mobilevitv2_075.cvnets_in1k",
    "edgenext_x_small": "edgenext_x_small.in1k",
    "mobilevit_xs": "mobilevit_xs.cvnets_in1k",
    "edgenext_xx_small": "edgenext_xx_small.in1k",
    "mobilevit_xxs": "mobilevit_xxs.cvnets_in1k",
    "dla46x_c": "dla46x_c.in1k",
}


def today(name: str) -> str:
    """The name that timm knows a model by."""
    return TODAY.get(name, name)
