"""Names that our flags have in old commands and in other programs, for suggestions."""

# Old names of flags, used in commands from before 2019.
RENAMED = {
    "--niter": "--n_epochs",
    "--niter_decay": "--n_epochs_decay",
    "--which_epoch": "--epoch",
    "--which_direction": "--direction",
    "--which_model_netG": "--netG",
    "--which_model_netD": "--netD",
    "--batchSize": "--batch_size",
    "--loadSize": "--load_size",
    "--fineSize": "--crop_size",
    "--resize_or_crop": "--preprocess",
    "--nThreads": "--num_threads",
    "--how_many": "--num_test",
    "--no_lsgan": "--gan_mode vanilla",
}

# Names of flags in other programs, whose spelling is not near ours or nearer to another flag's.
ELSEWHERE = {
    **dict.fromkeys(("--epochs", "--num_epochs", "--max_epochs"), "--n_epochs"),
    **dict.fromkeys(("--learning_rate", "--learning-rate"), "--lr"),
    **dict.fromkeys(("--image_size", "--img_size", "--imsize", "--size"), "--crop_size"),
    **dict.fromkeys(("--resolution", "--resize"), "--load_size"),
    **dict.fromkeys(("--workers", "--num_workers", "--n_cpu"), "--num_threads"),
    **dict.fromkeys(("--data", "--data_dir", "--data_path", "--dataset"), "--dataroot"),
    **dict.fromkeys(("--data_root", "--input_dir"), "--dataroot"),
    **dict.fromkeys(
        ("--output", "--output_dir", "--out_dir", "--save_dir"),
        "--results_dir or --checkpoints_dir",
    ),
    **dict.fromkeys(("--resume", "--continue"), "--continue_train"),
    "--load_pretrain": "--init_from",
    "--preprocess_mode": "--preprocess",
    "--data_type": "--precision",
    **dict.fromkeys(("--label_feat", "--load_features", "--n_clusters"), "--instance_feat"),
    **dict.fromkeys(("--init_variance", "--init_std"), "--init_gain"),
    "--tf_log": "--use_tensorboard",
    **dict.fromkeys(("--device", "--gpu", "--gpus", "--cuda", "--cpu"), "--gpu_ids"),
    **dict.fromkeys(("--amp", "--fp16", "--bf16", "--half"), "--precision bf16"),
    **dict.fromkeys(("--generator", "--arch"), "--netG"),
    **dict.fromkeys(("--channels", "--in_channels"), "--input_nc"),
    **dict.fromkeys(("--checkpoint", "--ckpt", "--weights"), "--epoch"),
    **dict.fromkeys(("--experiment", "--exp_name", "--run_name"), "--name"),
    **dict.fromkeys(("--l1", "--lambda_l1", "--l1_weight"), "--lambda_L1"),
    **dict.fromkeys(("--val_interval", "--eval_freq"), "--val_freq"),
    **dict.fromkeys(("--log_freq", "--log_interval"), "--print_freq"),
    **dict.fromkeys(("--save_freq", "--save_interval"), "--save_epoch_freq"),
    **dict.fromkeys(("--masks_dir", "--mask_root", "--mask_folder", "--mask_path"), "--mask_dir"),
    **dict.fromkeys(("--mask_type", "--mask_mode"), "--masks"),
}

# Flags of other programs that have no counterpart, and what takes their place.
WITHOUT_COUNTERPART = {
    **dict.fromkeys(
        ("--export_onnx", "--onnx", "--engine"), "python -m scripts.export writes ONNX"
    ),
    "--optimizer": "Adam trains all networks (--lr, --beta1)",
    **dict.fromkeys(("--netE", "--norm_E"), "--use_vae has one encoder, the published one"),
    "--cluster_path": "--instance_feat keeps the features of the training with the weights",
    "--local_rank": "torchrun sets the rank; leave it out",
    "--load_from_opt_file": "--config FILE.yaml reads flags from a file",
    "--D_steps_per_G": "D learns once for each step of G",
    **dict.fromkeys(
        ("--mask", "--test_mask", "--mask_file"),
        "masks are files of the images' names in test_mask/, beside test/, or in --mask_dir; for "
        "one image: python -m scripts.translate --mask",
    ),
    **dict.fromkeys(
        ("--sketch", "--sketch_dir", "--test_sketch"),
        "--guided reads sketches, files of the images' names, from test_sketch/, beside test/; for "
        "one image: python -m scripts.translate --sketch",
    ),
}

# Values of flags in other programs, and ours.
VALUES_ELSEWHERE = {
    "--direction": {"a2b": "AtoB", "b2a": "BtoA", "a_to_b": "AtoB", "b_to_a": "BtoA"},
    "--gan_mode": {"ls": "lsgan", "original": "vanilla", "w": "wgangp", "bce": "vanilla"},
}
