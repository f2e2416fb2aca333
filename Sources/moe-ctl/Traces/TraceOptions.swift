import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Files
import Listings
import Traces

/// Where a trace goes.
struct TraceOutput: ParsableArguments {
    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp("File for the trace.", valueName: "file"), completion: .file())
    var path: String

    func report(_ header: TraceHeader, intervals: Int) throws {
        let table = Table.details([
            ("Trace", path), ("Source", header.source), ("Model", Readable.shape(header.model.layers.map(\.count))),
            ("Intervals", "\(intervals)"),
        ])
        try StandardOutput.write(table.text)
    }
}

/// The size of a model's experts, where the loads do not tell.
struct TraceModelOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Width of every expert, in neurons.", valueName: "f"))
    var width = OfflineOptions.defaultWidth
    @Option(help: ArgumentHelp("Hidden size of the model.", valueName: "d"))
    var hiddenSize = OfflineOptions.defaultHiddenSize

    func validate() throws {
        let limit = Limits.standard.width
        for (name, value) in [("--width", width), ("--hidden-size", hiddenSize)] {
            try checkRange(value, name, in: 1...limit)
        }
    }
}
