import Foundation
import TensorBoard

/// Where rank 0 writes down what each step did: JSON lines, a table and TensorBoard's events, those that are asked for.
package final class StepLogs {
    private let lines: JSONLinesFile?
    private let table: StepTable?
    /// The directory of all runs' events, and this run's file.
    private let eventsDirectory: String?
    private var events: EventFile?
    /// Histograms take more room than numbers: not every step has them.
    private let histogramInterval: Int

    /// Opens what is there, or makes it; nil when nothing is asked for.
    /// - Throws: `WorkerError` when something cannot be written.
    init?(_ options: TrainingOptions) throws {
        if options.metrics == nil && options.csv == nil && options.tensorBoard == nil { return nil }
        lines = try options.metrics.map { try JSONLinesFile(path: $0, flag: "--metrics") }
        table = try options.csv.map(StepTable.init)
        eventsDirectory = options.tensorBoard
        histogramInterval = options.logInterval
        if let eventsDirectory { try Self.makeDirectory(eventsDirectory) }
    }

    /// Prepares for the steps after `completedSteps`: what is there of them, table and events forget. Not before other starts of the
    /// run have ended.
    func begin(run: String, after completedSteps: Int) throws {
        try table?.begin(after: completedSteps)
        guard let eventsDirectory else { return }
        // A folder for each run, as TensorBoard compares them.
        let directory = eventsDirectory + "/" + run
        try Self.makeDirectory(directory)
        try Self.namingTheFlag { () throws(EventFileError) in
            events = try EventFile(directory: directory, firstStep: completedSteps + 1)
        }
    }

    /// - Throws: `WorkerError` when something cannot be written.
    func append(_ metrics: StepMetrics) throws {
        try lines?.append(metrics)
        try table?.append(metrics)
        guard let events else { return }
        try Self.namingTheFlag { () throws(EventFileError) in
            try events.append(
                metrics.summary(withHistograms: metrics.step % histogramInterval == 0), step: metrics.step)
        }
    }

    private static func makeDirectory(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw WorkerError.failed(
                "cannot make the directory \(path): \(error.localizedDescription); check --tensorboard")
        }
    }

    private static func namingTheFlag(_ body: () throws(EventFileError) -> Void) throws {
        do {
            try body()
        } catch {
            throw WorkerError.failed("\(error); check --tensorboard")
        }
    }
}

extension StepMetrics {
    /// What TensorBoard shows of the step.
    fileprivate func summary(withHistograms: Bool) -> Summary {
        var summary = Summary()
        for quantity in StepQuantity.all {
            if let value = quantity.value(self) { summary.add(quantity.tag, scalar: value) }
        }
        for (layer, balance) in loadBalances.enumerated() {
            if let balance { summary.add("moe/load_balance/layer_\(layer)", scalar: balance) }
        }
        guard withHistograms else { return summary }
        for (layer, loads) in expertLoad.enumerated() {
            if let histogram = Histogram(loads.map(Double.init)) {
                summary.add("moe/expert_load/layer_\(layer)", histogram: histogram)
            }
        }
        return summary
    }
}
