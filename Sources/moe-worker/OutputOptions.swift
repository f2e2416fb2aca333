import ArgumentParser
import WorkerRuntime

/// What a run leaves behind.
struct OutputOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Steps between validations; 0: only after the last.", valueName: "n"))
    var evaluationInterval = 0

    @Option(help: ArgumentHelp("Batches of val.bin that a validation reads; 0: all.", valueName: "n"))
    var evaluationBatches = 0

    @Option(help: ArgumentHelp("Appends a JSON line for each step.", valueName: "file"))
    var metrics: String?

    @Option(help: ArgumentHelp("Where the weights are saved after the last step, as <dir>/step-<n>.", valueName: "dir"))
    var checkpointDirectory: String?

    @Option(help: ArgumentHelp("Steps between lines of progress.", valueName: "n"))
    var logInterval = 10

    func apply(to options: inout TrainingOptions) {
        options.evaluationInterval = evaluationInterval
        options.evaluationBatches = evaluationBatches
        options.metrics = metrics
        options.checkpointDirectory = checkpointDirectory
        options.logInterval = logInterval
    }
}
