import ControlProtocol
import ExpertPlacement
import Foundation

/// `exec:ALIAS`: a policy that is a program, named in the coordinator's configuration file.
///
/// The first plan is that of `expert-parallel`, since the program decides from measurements; a run whose ranks have no memory
/// for it is refused.
struct ExecAllocator: ExpertsAllocator {
    let alias: String
    let program: ExternalProgram
    let hysteresis: Hysteresis?
    let cancellation: PlanningCancellation
    /// What an answer has to keep, W entries; nil: what the program is told, which leaves room for rows and moves.
    private let memoryLimits: [Int]?
    private let limits: Limits
    private var forecast = LoadForecast()

    init(
        alias: String, program: ProgramConfiguration, limits: Limits, memoryLimits: [Int]?,
        cancellation: PlanningCancellation
    ) {
        self.alias = alias
        self.program = program.program(outputLimit: limits.frameBytes)
        hysteresis = program.hysteresis ?? true ? Hysteresis() : nil
        self.limits = limits
        self.memoryLimits = memoryLimits
        self.cancellation = cancellation
    }

    var loadForecast: LoadForecast? { forecast }

    mutating func collectPerformance(_ sample: PerformanceSample, rank: Int) {
        forecast.record(sample)
    }

    mutating func allocateExperts(
        current: PlacementPlan?, model: ExpertModel, cluster: Cluster, step: Int
    ) throws(PlacementError) -> PlacementPlan? {
        guard let current else {
            let first = StaticAllocator(.expertParallel)
            return try first.allocateExperts(current: nil, model: model, cluster: cluster, step: step)
        }
        // Without measurements there is nothing to decide from.
        guard forecast.fits(model) else { return nil }
        let request = ExecRequest(step: step, model: model, cluster: cluster, plan: current, forecast: forecast)
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            let output = try program.run(encoder.encode(request) + Data("\n".utf8), cancellation: cancellation)
            let plan = try ExecAnswer(reading: output).plan(model: model, cluster: cluster, limits: limits)
            var whole = cluster
            if let memoryLimits { whole.memoryLimits = memoryLimits }
            if let plan { try PlanMemory.check(plan, model: model, cluster: whole) }
            return plan
        } catch {
            throw .programFailed("\(Allocators.programPrefix)\(alias): \(error)")
        }
    }
}
