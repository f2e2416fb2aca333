import ArgumentParser
import Listings
import Settings
import Traces

extension TraceCommands {
    struct Import: ParsableCommand, OwnOptions {
        static let configuration = CommandConfiguration(
            commandName: "import",
            abstract: "Make a trace of loads that others have recorded.",
            discussion: """
                eplb: a JSON matrix [layer][expert] of loads, as DeepSeek's EPLB takes them, or a list of such matrices. \
                lines: JSON Lines {"iteration": 1, "loads": [layer][expert]}. \
                vllm: the state of vLLM's load balancer (expert_load_window, physical_to_logical_map), saved with torch.save \
                or as JSON, of all ranks, whose loads are added up. \
                sglang: what SGLang's expert distribution recorder dumps in the modes stat and per_pass (.pt files; those of \
                all ranks are one recording), or the same as JSON. \
                No code in a .pt file is run.
                """)

        /// Elsewhere it is the form of the output.
        static let ownOptions = ["format"]

        @Argument(help: "Files with loads.", completion: .file())
        var files: [String]

        @Option(
            name: .customLong("format"),
            help: ArgumentHelp(
                "Form of the files: \(TraceFormat.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "name"
            ))
        var form: TraceFormat
        @OptionGroup var output: TraceOutput
        @Option(
            help: ArgumentHelp(
                "Steps that a matrix is the sum of; with vllm and sglang, passes that are added up to an interval.",
                valueName: "n"))
        var steps = 1
        @Option(help: ArgumentHelp("Loads are multiplied by it, to be rows.", valueName: "x"))
        var scale = 1.0
        @OptionGroup var model: TraceModelOptions

        func validate() throws {
            try checkRange(steps, "--steps", in: 1...1_000_000_000)
            guard scale > 0, scale <= 1e15 else { throw ValidationError("--scale must be above 0, but is \(scale)") }
        }

        func run() throws {
            let trace = TraceImport(
                format: form, steps: steps, scale: scale, width: model.width, hiddenSize: model.hiddenSize)
            let (header, intervals) = try trace.run(files: files, output: output.path) {
                StandardError.write("Note: \($0)")
            }
            try output.report(header, intervals: intervals)
        }
    }
}

extension TraceFormat: ExpressibleByArgument {}
