import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Files
import Foundation
import Listings
import PlanningPrograms
import Settings
import Traces

struct SimulateCommand: ParsableCommand, OwnOptions {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Tell what placement policies would make of a trace on ranks that are described.",
        discussion: """
            Each policy places the experts by the loads of the trace, interval by interval, with the planner, the cost model \
            and the migrations of a real run; how long that takes follows from the cost model. Policies are allocators, with \
            options behind a colon, and programs, exec:ALIAS, of a coordinator's --config. A trace that was recorded also tells \
            how fast its ranks computed, what messages between them cost and what the rest of a step took; options override \
            what the trace tells. With several --ranks it tells how a step's time changes with their number.
            """)

    /// Elsewhere it is the file with values for options.
    static let ownOptions = ["config"]

    @Option(
        help: ArgumentHelp("Trace of loads, of moe-ctl trace; it is read twice.", valueName: "file"),
        completion: .file())
    var trace: String
    @Option(
        help: ArgumentHelp(
            "Allocator to try; give it once for each. One of \(Allocators.names.joined(separator: ", ")).",
            valueName: "name"))
    var policy: [String]
    @Option(
        help: ArgumentHelp(
            "The coordinator's configuration file, whose programs are policies, too: exec:ALIAS.", valueName: "file"),
        completion: .file())
    var config: String?
    @OptionGroup(title: "The ranks") var ranks: ClusterOptions
    @Option(
        help: ArgumentHelp(
            "Seconds of a step that do not depend on where experts are, on the first --ranks (default: as in the trace, or 0).",
            valueName: "s"))
    var denseSeconds: Double?
    @Option(help: ArgumentHelp("Steps between two looks at the plan (default: those of an interval).", valueName: "n"))
    var planningSteps: Int?
    @Option(
        help: ArgumentHelp(
            "Bytes that may move before one step, all ranks together (default: what half a step takes).",
            valueName: "bytes"))
    var migrationBudget: Int?
    @Option(help: ArgumentHelp("Intervals of the trace to replay, from the first (default: all).", valueName: "n"))
    var intervals: Int?
    @Option(
        help: ArgumentHelp(
            "First intervals that totals leave out, while policies find out what loads are like.", valueName: "n"))
    var warmUpIntervals = 0
    @Flag(help: "Let tokens grow with the ranks: the trace's are those of the first --ranks.")
    var weakScaling = false
    @Option(
        help: ArgumentHelp("File for charts of all intervals, or of all numbers of ranks, as SVG.", valueName: "file"),
        completion: .file())
    var plot: String?
    @OptionGroup var output: ListingOptions

    func validate() throws {
        let limits = Limits.standard
        guard !policy.isEmpty else { throw ValidationError("give a --policy to try") }
        let programs = try programs()
        for name in policy {
            guard config != nil || !name.hasPrefix(Allocators.programPrefix) else {
                throw ValidationError(
                    "--policy \(name) is a program that the coordinator's configuration file names: give that file as --config"
                )
            }
            do { _ = try allocator(name, of: programs, memoryLimits: nil) } catch {
                throw ValidationError("--policy: \(error)")
            }
        }
        guard Set(policy).count == policy.count else { throw ValidationError("a --policy stands there twice") }
        if let denseSeconds { try checkRange(denseSeconds, "--dense-seconds", in: 0...limits.seconds) }
        if let planningSteps { try checkRange(planningSteps, "--planning-steps", in: 1...limits.integer) }
        if let migrationBudget { try checkRange(migrationBudget, "--migration-budget", in: 1...limits.integer) }
        guard !weakScaling || ranks.ranks.count > 1 else {
            throw ValidationError("--weak-scaling compares numbers of ranks: give several --ranks")
        }
        if let intervals { try checkRange(intervals, "--intervals", in: 1...limits.integer) }
        try checkRange(warmUpIntervals, "--warm-up-intervals", in: 0...limits.integer)
    }

    private func programs() throws(ValidationError) -> PlanningConfiguration {
        guard let config else { return PlanningConfiguration() }
        do { return try PlanningConfiguration(file: config) } catch { throw ValidationError("\(error)") }
    }

    private func allocator(
        _ policy: String, of programs: PlanningConfiguration, memoryLimits: [Int]?
    ) throws(PlacementError) -> any ExpertsAllocator {
        try programs.allocator(
            named: policy, limits: .standard, memoryLimits: memoryLimits, cancellation: ProgramInterrupt.cancellation)
    }

    func run() throws {
        let programs = try programs()
        if config != nil { ProgramInterrupt.trap() }
        try InputFile.checkIsReadAgain(trace)
        var reader = try TraceReader(path: trace)
        let calibration = try TraceCalibration(path: trace)
        let clusters = try ranks.clusters(of: reader.header)
        let model = reader.header.model
        let options = PlacementSimulation.Options(
            planningSteps: planningSteps ?? 1, migrationBudgetBytes: migrationBudget, warmUpIntervals: warmUpIntervals)
        var points = try clusters.map { cluster in
            let costs = costs(reader.header, cluster, calibration)
            return SimulatedCluster(
                cluster: cluster, costs: costs, hiddenSize: model.hiddenSize, options: options,
                tokens: weakScaling ? Double(cluster.worldSize) / Double(clusters[0].worldSize) : 1,
                policies: try policy.map {
                    SimulatedPolicy(
                        $0, allocator: try allocator($0, of: programs, memoryLimits: cluster.memoryLimits),
                        model: model, cluster: cluster, costs: costs, options: options)
                })
        }
        var count = 0
        // Of all ranks together: what was recorded on others is divided among those of now.
        let givenSeconds = denseSeconds.map { $0 * Double(clusters[0].worldSize) }
        while count < intervals ?? .max, let line = try reader.next() {
            guard case .interval(let interval) = line else { continue }
            count += 1
            let dense = givenSeconds ?? calibration.denseSeconds(interval) ?? 0
            for index in points.indices { points[index].advance(interval, denseSeconds: dense) }
            if ProgramInterrupt.cancellation.isCancelled { throw CommandFailure("interrupted") }
        }
        guard count > 0 else { throw CommandFailure("\(trace) has no intervals; is it whole?") }
        guard count > warmUpIntervals else {
            throw CommandFailure(
                "--warm-up-intervals \(warmUpIntervals) leaves nothing of \(count) intervals; choose fewer than these")
        }
        // Other traces than those of runs tell of no ranks.
        if denseSeconds == nil, reader.header.cluster != nil, let note = calibration.note {
            StandardError.write("Note: \(note)")
        }
        for point in points { point.reportFailures(several: points.count > 1) }
        if points.count > 1 {
            let report = ScalingReport(
                trace: trace, source: reader.header.source, intervals: count, isWeak: weakScaling,
                points: points)
            if let plot { try OutputFile.write(report.charts, to: plot) }
            try output.write(report) { report.tables }
        } else {
            let report = SimulationReport(
                trace: trace, source: reader.header.source, intervals: count, point: points[0])
            if let plot { try OutputFile.write(SimulationCharts.svg(points[0].policies), to: plot) }
            try output.write(report) { report.tables }
        }
        if points.allSatisfy({ $0.policies.allSatisfy { $0.failure != nil } }) {
            throw ExitCode(CommandFailure.failed)
        }
    }

    private func costs(_ trace: TraceHeader, _ cluster: Cluster, _ calibration: TraceCalibration) -> CostModel {
        var costs = CostEstimate().costs(model: trace.model, cluster: cluster)
        if let operations = ranks.operationsPerSecond {
            costs.neuronSeconds = CostModel.rowOperations(hiddenSize: trace.model.hiddenSize) / operations
        } else if let measured = calibration.neuronSeconds {
            costs.neuronSeconds = measured
            if calibration.worldSize == cluster.worldSize { costs.slowness = calibration.slowness }
        }
        return costs
    }
}

/// One policy's way through a trace, up to where it fails.
struct SimulatedPolicy {
    let policy: String
    private(set) var simulation: PlacementSimulation?
    private(set) var outcomes = [IntervalOutcome]()
    private(set) var failure: String?

    init(
        _ policy: String, allocator: any ExpertsAllocator, model: ExpertModel, cluster: Cluster, costs: CostModel,
        options: PlacementSimulation.Options
    ) {
        self.policy = policy
        do {
            simulation = try PlacementSimulation(
                policy: policy, allocator: allocator, model: model, cluster: cluster, costs: costs, options: options)
        } catch {
            failure = "\(error)"
        }
    }

    mutating func advance(_ interval: SimulatedInterval) {
        guard failure == nil else { return }
        do {
            if let outcome = try simulation?.advance(interval) { outcomes.append(outcome) }
        } catch {
            failure = "step \(interval.firstStep): \(error)"
        }
    }

    var totals: SimulationTotals { simulation?.totals ?? SimulationTotals() }
}
