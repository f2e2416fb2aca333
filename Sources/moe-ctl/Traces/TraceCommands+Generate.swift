import ArgumentParser
import ControlProtocol
import Listings
import Traces

extension TraceCommands {
    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "generate",
            abstract: "Make a trace of synthetic loads.",
            discussion: """
                Tokens choose experts by Zipf's law, in an order of each layer's own, and each expert's popularity drifts. \
                zipf: that is all. shift: the order is another one every --period intervals. periodic: loads swing between \
                two orders and back in --period intervals. The same options and seed make the same trace.
                """)

        @Option(help: "How loads change.")
        var pattern: SyntheticLoads.Pattern
        @OptionGroup var output: TraceOutput
        @Option(help: ArgumentHelp("Seed of all random numbers.", valueName: "n"))
        var seed = 1
        @Option(help: ArgumentHelp("Layers with experts.", valueName: "n"))
        var layers = 12
        @Option(help: ArgumentHelp("Experts of a layer.", valueName: "n"))
        var experts = 64
        @Option(help: ArgumentHelp("Intervals of the trace.", valueName: "n"))
        var intervals = 100
        @Option(help: ArgumentHelp("Steps of an interval.", valueName: "n"))
        var steps = 10
        @Option(help: ArgumentHelp("Tokens of a step, all ranks together.", valueName: "n"))
        var tokens = 65_536
        @Option(help: ArgumentHelp("Experts that a token goes to.", valueName: "k"))
        var topK = 2
        @Option(
            help: ArgumentHelp("The k-th expert is chosen k^-x times as often as the first.", valueName: "x"))
        var exponent = 0.8
        @Option(
            help: ArgumentHelp(
                "Standard deviation of what an expert's popularity changes by in an interval, relative to it.",
                valueName: "x"))
        var drift = 0.02
        @Option(help: ArgumentHelp("Intervals between shifts, or of a swing.", valueName: "n"))
        var period = 50
        @OptionGroup var model: TraceModelOptions

        func validate() throws {
            let limits = Limits.standard
            try checkRange(seed, "--seed", in: 0...limits.integer)
            try checkRange(layers, "--layers", in: 1...limits.layers)
            try checkRange(experts, "--experts", in: 1...min(limits.expertsPerLayer, limits.experts / layers))
            try checkRange(intervals, "--intervals", in: 1...1_000_000)
            try checkRange(steps, "--steps", in: 1...1_000_000)
            try checkRange(tokens, "--tokens", in: 1...1_000_000_000)
            try checkRange(topK, "--top-k", in: 1...experts)
            try checkRange(exponent, "--exponent", in: 0...10)
            try checkRange(drift, "--drift", in: 0...1)
            try checkRange(period, "--period", in: 1...1_000_000)
        }

        func run() throws {
            let options = SyntheticLoads.Options(
                pattern: pattern, seed: seed, layers: layers, experts: experts, intervals: intervals, steps: steps,
                tokens: tokens, topK: topK, exponent: exponent, drift: drift, period: period)
            let header = options.header(width: model.width, hiddenSize: model.hiddenSize)
            let writer = try TraceWriter(path: output.path, header: header)
            for interval in SyntheticLoads(options) { try writer.write(.interval(interval)) }
            try writer.finish()
            try output.report(header, intervals: writer.intervals)
        }
    }
}

extension SyntheticLoads.Pattern: ExpressibleByArgument {}
