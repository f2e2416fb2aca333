import ExpertPlacement
import Listings
import WorkerRuntime

/// What `--dry-run` prints for people.
struct DryRunReport {
    let dryRun: DryRun

    var tables: [Table] { [heading, PlacementTable.make(dryRun.plan, ownership: dryRun.ownership), rankTable] }

    private var heading: Table {
        let nodes = Set(dryRun.plan.nodes).count
        let tokens = dryRun.batchSize * dryRun.sequenceLength
        let mesh = dryRun.tensorParallel == 1 ? "" : "; mesh \(dryRun.dataParallel) × \(dryRun.tensorParallel)"
        let denseLayers = dryRun.layers - dryRun.expertLayers
        let widths = dryRun.expertWidths
        let dense = dryRun.parameters - dryRun.expertParameters
        let steps =
            dryRun.checkpoint.map { "\(dryRun.steps), of which \(dryRun.completedSteps) are done: from \($0)" }
            ?? "\(dryRun.steps)"
        return .details(
            [
                ("Run", dryRun.run ?? Readable.nothing),
                (
                    "Model",
                    "\(dryRun.expertLayers) layer\(dryRun.expertLayers == 1 ? "" : "s") of \(dryRun.expertsPerLayer) experts"
                        + (denseLayers == 0 ? "" : " and \(denseLayers) dense") + ", top \(dryRun.expertsPerToken); "
                        + "hidden size \(dryRun.hiddenSize), experts \(widths.lowerBound)"
                        + (widths.count == 1 ? "" : " to \(widths.upperBound)")
                ),
                (
                    "Parameters",
                    "\(dryRun.parameters): \(dense) dense, \(dryRun.expertParameters) of experts; a token meets "
                        + "\(dryRun.activeParameters)"
                ),
                ("Ranks", "\(dryRun.plan.worldSize) on \(nodes) node\(nodes == 1 ? "" : "s")\(mesh)"),
                (
                    "Batch",
                    "\(dryRun.batchSize) × \(dryRun.sequenceLength) tokens (\(tokens)) in \(dryRun.microBatches) "
                        + "micro-batch\(dryRun.microBatches == 1 ? "" : "es")"
                ),
                ("Steps", steps),
                ("Placement", "revision \(dryRun.plan.revision) from \(dryRun.origin)"),
                ("Dispatcher", dryRun.dispatcher),
                ("Optimizer state", dryRun.ownership.rawValue),
                ("Limit of experts", limit),
            ], isDryRun: true)
    }

    /// Ranks that hold as much share a line.
    private var rankTable: Table {
        var table = Table([
            ("RANK", .left), ("NODE", .left), ("WEIGHTS", .right), ("GRADIENTS", .right), ("OPTIMIZER", .right),
            ("ACTIVATIONS", .right), ("DATA", .right), ("PROGRAM", .right), ("TOTAL", .right),
        ])
        let ranks = dryRun.ranks
        let cells = ranks.map { rank in
            [
                rank.weightBytes, rank.gradientBytes, rank.optimizerBytes, rank.activationBytes, rank.dataBytes,
                rank.processBytes, rank.totalBytes,
            ].map { Readable.bytes($0) }
        }
        for alike in cells.runs(where: ==) {
            table.add(
                [Readable.ranges(Array(alike)), Readable.ranges(Set(alike.map { ranks[$0].node }).sorted())]
                    + cells[alike.lowerBound])
        }
        return table
    }

    private var limit: String {
        guard let limits = dryRun.memoryLimits, let least = limits.min(), let largest = limits.max(), least < .max
        else { return Readable.nothing }
        return Readable.bytes(least) + (least == largest ? "" : " to " + Readable.bytes(largest)) + " a rank"
    }
}
