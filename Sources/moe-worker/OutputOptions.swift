import ArgumentParser
import WorkerRuntime

/// What a run leaves behind.
struct OutputOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Steps between validations, for which there must be a val.bin; 0: only after the last, if there is one.",
            valueName: "n"))
    var evaluationInterval = 0

    @Option(help: ArgumentHelp("Batches of val.bin that a validation reads; 0: all.", valueName: "n"))
    var evaluationBatches = 0

    @Option(help: ArgumentHelp("Appends a JSON line for each step.", valueName: "file"))
    var metrics: String?

    @Option(help: ArgumentHelp("Appends a row for each step, below a line of column names.", valueName: "file"))
    var csv: String?

    @Option(
        name: .customLong("tensorboard"),
        help: ArgumentHelp(
            "For TensorBoard: curves of each step, and histograms of the experts' loads every --log-interval steps, in "
                + "<dir>/<run>.",
            valueName: "dir"))
    var tensorBoard: String?

    @Option(
        help: ArgumentHelp(
            "Where checkpoints are written, as <dir>/step-<n>: after the last step, on SIGUSR1, and on SIGTERM or Ctrl-C, which "
                + "then end the run with exit code 75.", valueName: "dir"))
    var checkpointDirectory: String?

    @Option(help: ArgumentHelp("Steps between checkpoints; 0: only the last.", valueName: "n"))
    var checkpointInterval = 0

    @Option(help: ArgumentHelp("How many of the newest checkpoints stay; 0: all.", valueName: "n"))
    var checkpointKeep = 3

    @Option(
        help: ArgumentHelp(
            "newest: goes on from the newest checkpoint in the directory, if there is one; never: begins anew, in a directory "
                + "without any.", valueName: "which"))
    var resume = TrainingOptions.Resume.newest

    @Option(help: ArgumentHelp("Steps between lines of progress.", valueName: "n"))
    var logInterval = 10

    func apply(to options: inout TrainingOptions) {
        options.evaluationInterval = evaluationInterval
        options.evaluationBatches = evaluationBatches
        options.metrics = metrics
        options.csv = csv
        options.tensorBoard = tensorBoard
        options.checkpointDirectory = checkpointDirectory
        options.checkpointInterval = checkpointInterval
        options.checkpointKeep = checkpointKeep
        options.resume = resume
        options.logInterval = logInterval
    }
}

extension TrainingOptions.Resume: ExpressibleByArgument {}
