import Checkpoints
import ControlProtocol
import ExpertPlacement
import Foundation
import Logging
import MessagePassing

/// The plan in force and the way of this rank's reports: to the coordinator, or nowhere when there is none.
///
/// The start waits for the coordinator; no later step does.
public final class ControlPlane {
    /// How long the end of a run waits for reports that are left, and for the word that it has ended.
    private static let closingTime = Duration.seconds(5)

    /// The run's name.
    public let run: String
    /// The plan in force, its revision set.
    public let plan: PlacementPlan
    /// Who made the plan, for people to read.
    public let origin: String

    /// What allocators know of the ranks.
    let cluster: Cluster

    /// Whether plans are made in this job, from all ranks' samples; on rank 0 `localPlanner` makes them.
    private let plansHere: Bool
    private let localPlanner: LocalPlanner?
    /// On rank 0, when placements are those of a log.
    private let replay: PlacementReplay?
    private let incarnation: Int?
    /// The number that checkpoints carry: the coordinator's or, without one, the next after those that the directory knows.
    let fileIncarnation: Int
    private let earlierRevision: Int
    private let coordinator: CoordinatorAccess?
    private let isFirstRank: Bool
    private let reporter: Reporter?
    /// On rank 0, with a coordinator.
    private let planChannel: PlanChannel?
    private let logger: Logger

    /// Rank 0 registers the run with the coordinator (or asks the allocator here), and tells all ranks. Collective.
    /// - Parameters:
    ///   - cluster: the ranks, the same on all of them.
    ///   - checkpoint: what the run goes on from; nil: it begins.
    /// - Throws: `JobFailure` on all ranks: the coordinator cannot be reached, it refuses, or no plan can be made.
    public static func open(
        options: TrainingOptions, model: ExpertModel, cluster: Cluster, checkpoint: CheckpointManifest? = nil,
        communicator: any Communicator, logger: Logger = Logger(label: "moe.worker")
    ) throws -> ControlPlane {
        var replay: PlacementReplay?
        let message = try communicator.agree { () -> [UInt8] in
            if let coordinator = options.coordinator { try options.access(to: coordinator).checkKey() }
            guard communicator.rank == 0 else { return [] }
            let directory = options.checkpointDirectory.map(CheckpointDirectory.init)
            let earlierIncarnation = max(
                checkpoint?.incarnation ?? 0, try directory.map(CheckpointClaim.lastIncarnation(in:)) ?? 0)
            replay = try options.placementReplay.map {
                try PlacementReplay(path: $0, cluster: cluster, completedSteps: checkpoint?.step ?? 0)
            }
            var registration = try register(
                options: options, model: model, cluster: cluster, checkpoint: checkpoint, replay: replay,
                earlierIncarnation: earlierIncarnation)
            registration.earlierIncarnation = earlierIncarnation
            return try Array(JSONEncoder().encode(registration))
        }
        let bytes = try communicator.broadcast(message, root: 0)
        return try communicator.agree {
            let registration = try JSONDecoder().decode(RunRegistration.self, from: Data(bytes))
            do {
                try registration.plan.validate(for: model, worldSize: communicator.size)
            } catch {
                throw WorkerError(.refused, "the coordinator's plan is of no use here: \(error)")
            }
            return try ControlPlane(
                registration, options: options, model: model, cluster: cluster, checkpoint: checkpoint, replay: replay,
                rank: communicator.rank, logger: logger)
        }
    }

    private static func register(
        options: TrainingOptions, model: ExpertModel, cluster: Cluster, checkpoint: CheckpointManifest?,
        replay: PlacementReplay?, earlierIncarnation: Int
    ) throws -> RunRegistration {
        let run = options.run ?? checkpoint?.run ?? RunRegistration.generatedName()
        guard let address = options.coordinator else {
            let plan = try PlacementChoice.plan(
                replay: replay, after: checkpoint, allocator: options.allocator, model: model, cluster: cluster)
            return RunRegistration(run: run, incarnation: nil, plan: plan)
        }
        return try RunRegistration.register(
            RegisterRun(
                run: run, registration: UUID().uuidString, worldSize: cluster.worldSize, nodes: cluster.nodes,
                model: model,
                allocator: options.allocator, host: CoordinatorChannel.host, processID: CoordinatorChannel.processID,
                configuration: options.facts,
                // JSON keeps no larger integers; no machine has so many bytes.
                memoryLimits: cluster.memoryLimits?.map { min($0, Limits.standard.integer) },
                exchange: cluster.exchange, ownership: cluster.ownership, interval: options.reportInterval,
                checkpoint: checkpoint.map { checkpoint in
                    ResumedCheckpoint(
                        incarnation: earlierIncarnation, revision: checkpoint.largestRevision, step: checkpoint.step,
                        plan: PlacementChoice.keepsPlan(of: checkpoint, allocator: options.allocator)
                            ? checkpoint.plan : nil)
                }),
            with: options.access(to: address), within: .seconds(options.coordinatorTimeoutSeconds))
    }

    private init(
        _ registration: RunRegistration, options: TrainingOptions, model: ExpertModel, cluster: Cluster,
        checkpoint: CheckpointManifest?, replay: PlacementReplay?, rank: Int, logger: Logger
    ) throws {
        run = registration.run
        plan = registration.plan
        self.cluster = cluster
        incarnation = registration.incarnation
        fileIncarnation = registration.incarnation ?? registration.earlierIncarnation + 1
        earlierRevision = checkpoint?.largestRevision ?? 0
        plansHere =
            options.coordinator == nil && options.placementReplay == nil
            && PlacementChoice.isMeasured(options.allocator)
        self.replay = replay
        isFirstRank = rank == 0
        var logger = logger
        // All ranks see the coordinator come and go; one that says so is enough.
        if rank != 0 { logger.logLevel = .critical }
        self.logger = logger
        guard let address = options.coordinator, let incarnation = registration.incarnation else {
            coordinator = nil
            reporter = nil
            planChannel = nil
            localPlanner =
                plansHere && rank == 0
                ? LocalPlanner(
                    allocator: try Allocators.make(named: options.allocator), plan: plan,
                    largestRevision: earlierRevision, model: model, cluster: cluster,
                    intervalSteps: options.reportInterval, logger: logger) : nil
            origin =
                options.placementReplay.map { "\($0), and from there on as well" }
                ?? "the allocator \(options.allocator) in this job, without a coordinator"
            return
        }
        localPlanner = nil
        let coordinator = try options.access(to: address)
        let worker = WorkerIdentity(run: run, incarnation: incarnation, rank: rank)
        self.coordinator = coordinator
        origin = "the coordinator at \(coordinator.address), incarnation \(incarnation)"
        let planChannel =
            rank == 0
            ? PlanChannel(run: run, incarnation: incarnation, revision: plan.revision, logger: self.logger) {
                try await CoordinatorPlans.connect(to: coordinator, as: worker)
            } : nil
        self.planChannel = planChannel
        reporter = Reporter(
            capacity: Self.queuedReports, logger: self.logger,
            connect: { try await CoordinatorChannel.connect(to: coordinator, as: worker) })
    }

    /// Reports that wait while the coordinator is away.
    private static let queuedReports = 256

    /// Hands over a report and returns at once.
    package func report(_ sample: PerformanceSample) { reporter?.submit(sample) }

    /// Gives what this rank measured to whoever plans. Collective.
    func collect(_ sample: PerformanceSample, communicator: any Communicator) throws {
        report(sample)
        guard plansHere else { return }
        let samples = try communicator.gather(sample)
        localPlanner?.record(samples)
    }

    /// Tells the coordinator of a checkpoint, in the background.
    func note(_ saved: CheckpointSaver.Saved) {
        planChannel?.note(
            checkpoint: saved.step, path: URL(fileURLWithPath: saved.path).path, bytes: saved.bytes,
            seconds: saved.seconds)
    }

    /// Where new plans come from, on rank 0.
    var planSource: (any PlanSource)? { replay ?? localPlanner ?? planChannel }

    /// The largest revision of the run so far, as rank 0 knows it.
    var largestRevision: Int { max(plan.revision, earlierRevision, planSource?.largestRevision ?? 0) }

    /// Whether the run was started again elsewhere, so that this job must end. Known some time after the fact, and not on all
    /// ranks at once.
    var isSuperseded: Bool { reporter?.isSuperseded == true || planChannel?.isSuperseded == true }

    /// Why a job that is superseded ends.
    var supersededError: WorkerError {
        WorkerError(
            .refused,
            "the run \(run) was started again since: its incarnation \(incarnation ?? 0) is over, and so is this job")
    }

    /// Sends what is left and says that the run is done, or interrupted, with the reason. Collective. A coordinator that is away
    /// is only warned of.
    package func complete(step: Int, interruption: String? = nil, communicator: any Communicator) throws {
        guard let reporter else { return }
        let (statistics, messages) = close(reporter, within: Self.closingTime)
        if statistics.dropped > 0 {
            logger.warning("\(statistics.dropped) of \(statistics.submitted) reports did not reach the coordinator")
        }
        if messages > 0 { logger.warning("the coordinator does not know of the last change of placement") }
        // The last word comes after all ranks' reports.
        try communicator.barrier()
        finish(interruption == nil ? .completed : .interrupted, step: step, reason: interruption)
    }

    /// Says that the run has failed, if the coordinator listens.
    package func fail(step: Int, reason: String) {
        guard let reporter else { return }
        _ = close(reporter, within: .seconds(1))
        finish(.failed, step: step, reason: reason)
    }

    /// Sends what is left, both within `limit`.
    private func close(_ reporter: Reporter, within limit: Duration) -> (Reporter.Statistics, messages: Int) {
        let end = ContinuousClock.now + limit
        // Plans first: what the ranks have done is known to nobody else.
        let messages = planChannel?.finish(within: limit) ?? 0
        return (reporter.finish(within: max(.zero, end - ContinuousClock.now)), messages)
    }

    private func finish(_ outcome: FinishRun.Outcome, step: Int, reason: String?) {
        guard isFirstRank, !isSuperseded, let coordinator, let incarnation else { return }
        let request = FinishRun(
            run: run, incarnation: incarnation, outcome: outcome, step: step,
            reason: reason?.fitting(bytes: Limits.standard.reasonBytes))
        do {
            let reply = try AsynchronousCall.run(within: Self.closingTime) {
                let client = try await coordinator.connect()
                defer { client.close() }
                return try await client.send(request)
            }
            if reply == nil {
                throw ControlError(.timedOut, "the coordinator at \(coordinator.address) did not answer")
            }
        } catch {
            logger.warning("the coordinator does not know that the run has ended: \(error)")
        }
    }
}
