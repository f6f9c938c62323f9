// Package importers reads learning curves that others published, in the
// layouts they published them in, as a [metadataset.Input].
//
// It keeps what the source says and marks what the source gets wrong: a known
// defect becomes the end reason of its curves, an estimate becomes a note,
// and everything that a reader should look at becomes a warning of the
// [Report]. It refuses to repair: no value is interpolated or smoothed, the only
// one that is changed is an accuracy that rounding put up to 0.0001 above 100
// percent, and a file that contradicts itself is an error with the file and the
// place. It writes nothing but the download it was asked to keep.
//
// # Sources
//
// A folder, a zip file, a single JSON file, or an http(s) URL of one of the
// last two. The layout may lie at any depth. A zip file is read in place,
// within [Limits]: names that leave the archive, more data than announced and
// compression ratios of zip bombs are errors. A download goes to a .part file
// and is continued where an earlier one stopped.
//
// # Layouts
//
// [Compact]: one folder with perf.json, cost.json, table.csv and
// descriptors.json.
//
//	perf.json         {dataset: {id: [top-1 accuracy in percent, one number an epoch]}}; a key "info" is no data set
//	cost.json         {dataset: {id: [seconds, training and evaluation, one number an epoch]}}; the ids and lengths of perf.json
//	table.csv         id, then the encoded hyperparameters (package space/quicktunetable)
//	descriptors.json  {dataset: [training images, classes, pixels, channels]}
//
// [Released]: what the authors of Quick-Tune released (Pineda Arango et al.,
// ICLR 2024; qt_metadataset/{micro,mini,extended}/). Data sets are named
// mtlbm/extended/set1/DOG and are imported as DOG; runs are named
// 99172376918749682_micro_set1_DOG_v1 and keep their names.
//
//	eval_top1.json, eval_time.json, train_time.json   {dataset: {run: [one number an epoch]}}
//	train_loss.json, eval_loss.json, lr.json          the same; optional. The loss of a diverged epoch is NaN
//	args.json                                         {run: {argument of the training script: value}}, or
//	unnormalized_args_table.csv, args_table.csv       run, then one-hot and numeric columns
//	dataset-meta-features/meta-album/meta-features.json
//	                                                  {dataset_names, dataset_descriptors, hessians}; optional
//
// [QTT]: the training data of the Quick-Tune-Tool, four CSV files whose first
// column is a row label and whose rows belong together by it.
//
//	config.csv  one column a hyperparameter, raw values, blank where inactive; a column "dataset" is no hyperparameter
//	curve.csv   one column an epoch (numbered from 1 or 0), accuracy, blank or NaN where unobserved
//	cost.csv    one column: seconds of the whole curve, spread evenly over its epochs; or one column an epoch
//	meta.csv    meta-features of the data set, one row a configuration or one row a data set; optional
//
// Accuracies are percentages if any of them is above 1. Rows without a column
// "dataset" belong to one data set as far as their meta-features are the same.
//
// [TaskSet]: learning curves of TaskSet (Metz et al., arXiv:2002.11887) in
// the JSON form that the DPL benchmark uses, one file a task, named after it.
//
//	[{"hp": {name: value}, "train": {"loss": [...]}, "valid": {"loss": [...]}, "test": {"loss": [...]}}, ...]
//
// The validation loss is the metric, there are no times (each epoch counts 1),
// and train and test may be missing. A curve whose validation loss ends in
// NaN or Infinity has diverged; it is kept up to its first such epoch.
//
// # Search spaces
//
// [Compact] and [Released] have the space of the paper, [space.QuickTune]. QTT
// data has it too if every column is one of its hyperparameters and every row
// is valid in it. Otherwise the space is inferred from the values, column by
// column:
//
//   - blank everywhere: dropped, with a warning;
//   - one value: a constant;
//   - true and false: a categorical;
//   - numbers, at most 16 different ones in at least 4 times as many rows: an
//     ordinal of these numbers;
//   - other numbers: an integer if all are whole, else a real, between the
//     smallest and the largest value;
//   - anything else: a categorical of the different values, sorted; the text
//     None is the value None;
//   - a range or an ordinal of positive numbers spanning more than two decades
//     is on a log scale;
//   - a column with blanks is conditional on the column that explains them: a
//     categorical or an ordinal with fewer blanks whose value tells in every
//     row whether the column is blank; the one with the fewest, then the first,
//     is taken. If there is none, a categorical, an ordinal or a constant gets
//     the choice None, and a range gets a switch, a categorical named after it
//     with "has_" in front. None counts as a blank of a range.
package importers
