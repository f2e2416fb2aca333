import ControlProtocol
import ControlTestSupport
import CoordinatorService
import ExpertPlacement
import Foundation
import Logging
import PlanningPrograms
import Synchronization
import TestSupport
import Testing

/// The planning loop, with a coordinator that is played.
@Suite(.serialized) struct PlanningLoopTests {
    @Test func skewedLoadsLeadToAProposalAndAnObservation() async throws {
        let host = try PlayedHost()
        try await run(host) { loop in
            host.report(steps: 1...2, to: loop)
            let proposal = try #require(try await host.outcome { if case .proposed = $0 { true } else { false } })
            guard case .proposed(let proposed, from: 1, who: "allocator load-balanced") = proposal else {
                Issue.record("\(proposal)")
                return
            }
            #expect(proposed.prediction.balanceAfter > proposed.prediction.balanceBefore)
            #expect(proposed.prediction.bytes > 0 && !proposed.why.isEmpty)
            try host.activate(proposed.plan, revision: 2)
            host.report(steps: 3...6, revision: 2, to: loop)
            let observed = try await host.outcome { if case .observed = $0 { true } else { false } }
            guard case .observed(revision: 2, _)? = observed else {
                Issue.record("\(String(describing: observed))")
                return
            }
        }
    }

    @Test func aPlannerIsMadeFromStoredReports() async throws {
        let host = try PlayedHost()
        host.store(host.reports(steps: 1...3))
        try await run(host) { loop in
            // A report without loads would not suffice.
            loop.applied(host.report(step: 4, rank: 1))
            let proposal = try await host.outcome { if case .proposed = $0 { true } else { false } }
            #expect(proposal != nil)
        }
    }

    @Test func frozenRunsAndPlansInFlightAreLeftAlone() async throws {
        for isFrozen in [true, false] {
            let host = try PlayedHost()
            host.change { context in
                context.settings.frozen = isFrozen
                if !isFrozen { context.planInFlight = .init(plan: context.plan, mayBeWithdrawn: false) }
            }
            try await run(host) { loop in
                host.report(steps: 1...8, to: loop)
                try await host.wait { await loop.plannedReports == 16 }
            }
            #expect(host.outcomes == [])
        }
    }

    /// Where the coordinator proposes nothing, operators' plans are observed all the same.
    @Test func disabledPlanningStillObserves() async throws {
        let host = try PlayedHost()
        try await run(host, PlanningConfiguration(options: .init(enabled: false))) { loop in
            host.report(steps: 1...4, to: loop)
            try host.activate(host.context.plan, revision: 2)
            host.report(steps: 5...8, revision: 2, to: loop)
            _ = try await host.outcome { if case .observed = $0 { true } else { false } }
            try await host.wait { await loop.plannedReports == 16 }
        }
        #expect(host.outcomes.count == 1, "\(host.outcomes)")
    }

    @Test func aStaleProposalIsWithdrawn() async throws {
        let host = try PlayedHost()
        var stale = host.context.plan
        stale.revision = 7
        host.change { $0.planInFlight = .init(plan: stale, mayBeWithdrawn: true) }
        // All of them are there at the first look: the first alone would withdraw it without another.
        host.store(host.reports(steps: 1...2))
        try await run(host) { loop in
            loop.applied(host.report(step: 3, rank: 1))
            _ = try await host.outcome { if case .proposed = $0 { true } else { false } }
        }
        guard case .withdrawn(revision: 7, _, let why)? = host.outcomes.first else {
            Issue.record("\(host.outcomes)")
            return
        }
        #expect(why.contains("call for another"))
    }

    @Test func aPolicyThatAlwaysFailsIsToldOfNowAndThen() async throws {
        let host = try PlayedHost(allocator: "exec:broken")
        let broken = ProgramConfiguration(command: ["/bin/sh", "-c", "printf 'a\\nb' >&2; exit 9"])
        try await run(host, PlanningConfiguration(programs: ["broken": broken])) { loop in
            for step in 1...10 {
                host.report(steps: step...step, to: loop)
                try await host.wait { await loop.plannedReports == 2 * step }
            }
        }
        let reasons = host.outcomes.map { outcome in
            if case .failed("allocator exec:broken", let why) = outcome { why } else { "\(outcome)" }
        }
        #expect(reasons.count == 4, "\(reasons)")
        #expect(reasons.allSatisfy { $0.contains("exited with 9; it wrote: a b") }, "\(reasons)")
        #expect(reasons.last?.hasSuffix("(failure 8)") == true)
    }

    /// Five failures, an answer, and the next failure is a first one again.
    @Test func failuresAfterAnAnswerAreToldAnew() async throws {
        let folder = try TemporaryFolder()
        let host = try PlayedHost(allocator: "exec:moody")
        let script = "test -e '\(folder.path("good"))' && echo '{\"layers\": null}' || exit 9"
        let moody = ProgramConfiguration(command: ["/bin/sh", "-c", script])
        try await run(host, PlanningConfiguration(programs: ["moody": moody])) { loop in
            for step in 1...7 {
                if step == 6 { try Data().write(to: folder.url.appending(path: "good")) }
                if step == 7 { try FileManager.default.removeItem(at: folder.url.appending(path: "good")) }
                host.report(steps: step...step, to: loop)
                try await host.wait { await loop.plannedReports == 2 * step }
            }
        }
        let reasons = host.outcomes.map { outcome in if case .failed(_, let why) = outcome { why } else { "\(outcome)" }
        }
        #expect(reasons.count == 4 && reasons.last?.contains("(failure") == false, "\(reasons)")
    }

    /// The last line that a program writes tells why, however long the traceback before it is.
    @Test func theEndOfWhatAProgramWroteIsInTheEvent() async throws {
        let host = try PlayedHost(allocator: "exec:wordy")
        let script = "yes 'File \"policy.py\", line 7' | head -n 500 >&2; echo 'ValueError: no room' >&2; exit 1"
        let wordy = ProgramConfiguration(command: ["/bin/sh", "-c", script])
        try await run(host, PlanningConfiguration(programs: ["wordy": wordy])) { loop in
            host.report(steps: 1...1, to: loop)
            try await host.wait { await loop.plannedReports == 2 }
        }
        guard case .failed(_, let why)? = host.outcomes.first else {
            Issue.record("\(host.outcomes)")
            return
        }
        #expect(why.hasSuffix("ValueError: no room"), "\(why)")
    }

    @Test func anUnknownAliasIsToldOnce() async throws {
        let host = try PlayedHost(allocator: "exec:gone")
        try await run(host) { loop in
            for step in 1...3 {
                host.report(steps: step...step, to: loop)
                try await host.wait { await loop.plannedReports == 2 * step }
            }
        }
        #expect(host.outcomes.count == 1)
    }

    @Test func aSlowPolicyHoldsUpNobodyAndEndsWithTheLoop() async throws {
        let folder = try TemporaryFolder()
        let slow = ProgramConfiguration(command: ["/bin/sh", "-c", "touch '\(folder.path("started"))'; sleep 1000"])
        let host = try PlayedHost(allocator: "exec:slow")
        let started = ContinuousClock.now
        try await run(host, PlanningConfiguration(programs: ["slow": slow])) { loop in
            host.report(steps: 1...1, to: loop)
            try await host.wait { FileManager.default.fileExists(atPath: folder.path("started")) }
            let prediction = try await loop.examine(host.context.plan, of: "run", host.context)
            #expect(prediction.bytes == 0)
        }
        #expect(ContinuousClock.now - started < .seconds(500))
        #expect(host.outcomes == [])
    }

    /// Each has a thread of its own, and there are more of them than processors. Dispatch starts only one more thread a second when all
    /// that it has are blocked.
    @Test func policiesThatTakeLongHoldUpNoOtherRun() async throws {
        let folder = try TemporaryFolder()
        let directory = folder.url.path
        let runs = (0..<ProcessInfo.processInfo.activeProcessorCount + 64).map { "slow-\($0)" }
        let slow = ProgramConfiguration(
            command: ["/bin/sh", "-c", "touch '\(directory)'/$$; exec sleep 1000"], timeLimitSeconds: 1_000)
        let host = try PlayedHost()
        var limits = Limits()
        limits.planningThreads = runs.count + 1
        try await run(host, PlanningConfiguration(programs: ["slow": slow]), limits: limits) { loop in
            for name in runs { host.report(steps: 1...1, of: name, to: loop) }
            try await host.wait {
                (try? FileManager.default.contentsOfDirectory(atPath: directory).count) == runs.count
            }
            host.report(steps: 1...2, to: loop)
            _ = try await host.outcome { if case .proposed = $0 { true } else { false } }
        }
        withExtendedLifetime(folder) {}
    }

    @Test func onlySoManyPoliciesAreAtWork() async throws {
        let folder = try TemporaryFolder()
        let (started, go) = (folder.path("started"), folder.path("go"))
        let script = "touch '\(started)'; while [ ! -e '\(go)' ]; do sleep 0.02; done; exit 9"
        let host = try PlayedHost()
        var limits = Limits()
        limits.planningThreads = 1
        let slow = ProgramConfiguration(command: ["/bin/sh", "-c", script], timeLimitSeconds: 1_000)
        try await run(host, PlanningConfiguration(programs: ["slow": slow]), limits: limits) { loop in
            host.report(steps: 1...1, of: "slow", to: loop)
            try await host.wait { FileManager.default.fileExists(atPath: started) }
            host.report(steps: 1...2, to: loop)
            try await host.wait { loop.waitingPolicies == 1 }
            #expect(host.outcomes == [])
            try Data().write(to: URL(fileURLWithPath: go))
            _ = try await host.outcome { if case .proposed = $0 { true } else { false } }
        }
    }

    @Test func reportsThatAPolicyIsTooSlowForAreLeftOut() async throws {
        let folder = try TemporaryFolder()
        let (started, go) = (folder.path("started"), folder.path("go"))
        let script = "touch '\(started)'; while [ ! -e '\(go)' ]; do sleep 0.02; done; exit 9"
        let host = try PlayedHost(allocator: "exec:slow")
        var limits = Limits()
        limits.planningReports = 6
        let slow = ProgramConfiguration(command: ["/bin/sh", "-c", script])
        try await run(host, PlanningConfiguration(programs: ["slow": slow]), limits: limits) { loop in
            host.report(steps: 1...1, to: loop)
            try await host.wait { FileManager.default.fileExists(atPath: started) }
            // The seventh and the tenth that wait push three out each.
            host.report(steps: 2...7, to: loop)
            try await host.wait { await loop.leftOutReports == 6 }
            try Data().write(to: URL(fileURLWithPath: go))
            try await host.wait { await loop.plannedReports == 2 + 12 - 6 }
        }
    }

    /// Nobody looks at them at first: four fit in.
    @Test func reportsThatFindNoRoomAreCountedAndToldOnce() async throws {
        let host = try PlayedHost()
        var limits = Limits()
        limits.queuedReports = 4
        let log = CollectedLog()
        let loop = PlanningLoop(
            host: host, configuration: PlanningConfiguration(options: .init(enabled: false)), limits: limits,
            logger: log.logger)
        host.report(steps: 1...5, to: loop)
        #expect(loop.droppedReports == 6)
        #expect(log.lines == ["warning planning leaves out reports: too many wait for it limit=4"])
        let working = Task { await loop.run() }
        try await host.wait { await loop.plannedReports == 4 }
        host.report(steps: 6...6, to: loop)
        try await host.wait { await loop.plannedReports == 6 }
        #expect(log.lines.dropFirst() == ["notice planning takes all reports again refused=6"])
        #expect(loop.droppedReports == 6)
        loop.stop()
        await working.value
    }

    @Test func operatorsPlansAreExamined() async throws {
        let host = try PlayedHost()
        host.change { $0.subject.cluster.memoryLimits = [1 << 30, 10] }
        try await run(host) { loop in
            await #expect(throws: PlacementError.self) {
                try await loop.examine(host.context.plan, of: "run", host.context)
            }
        }
    }

    /// The configuration may have lost the run's program since.
    @Test func operatorsPlansNeedNoAllocator() async throws {
        let host = try PlayedHost(allocator: "exec:gone")
        host.store(host.reports(steps: 1...3))
        let plan = try Samples.shiftedPlan(by: 1, model: host.context.subject.model)
        try await run(host) { loop in
            let prediction = try await loop.examine(plan, of: "run", host.context)
            #expect(prediction.bytes > 0 && prediction.secondsBefore > 0, "\(prediction)")
            await #expect(throws: PlacementError.self) { try await loop.propose(of: "run", host.context) }
            host.change { $0.subject.cluster.memoryLimits = [1 << 30, 10] }
            await #expect(throws: PlacementError.self) { try await loop.examine(plan, of: "run", host.context) }
        }
    }

    private func run(
        _ host: PlayedHost, _ configuration: PlanningConfiguration = PlanningConfiguration(),
        limits: Limits = .standard, _ body: @Sendable (PlanningLoop) async throws -> Void
    ) async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let loop = PlanningLoop(host: host, configuration: configuration, limits: limits, logger: logger)
        try await withThrowingTaskGroup { group in
            group.addTask { await loop.run() }
            defer { loop.stop() }
            try await body(loop)
        }
    }
}

/// A run of two ranks whose router likes rank 0's experts, and others like it.
private final class PlayedHost: PlanningHost {
    private struct State {
        var context: PlanningContext
        var stored: [Report] = []
        var outcomes: [PlanningOutcome] = []
    }

    private static let model = ExpertModel(
        hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 128, count: 8), count: 2))
    private let state: Mutex<State>

    init(allocator: String = "load-balanced") throws {
        let cluster = Cluster(worldSize: 2)
        var first = try #require(
            try StaticAllocator(.expertParallel).allocateExperts(
                current: nil, model: Self.model, cluster: cluster, step: 0))
        first.revision = 1
        let subject = PlanningContext.Subject(
            incarnation: 1, allocator: allocator, model: Self.model, cluster: cluster, intervalSteps: 10)
        state = Mutex(State(context: PlanningContext(subject: subject, plan: first)))
    }

    var context: PlanningContext { state.withLock { $0.context } }
    var outcomes: [PlanningOutcome] { state.withLock { $0.outcomes } }

    func change(_ body: (inout PlanningContext) -> Void) {
        state.withLock { body(&$0.context) }
    }

    func activate(_ plan: PlacementPlan, revision: Int) throws {
        var plan = plan
        plan.revision = revision
        change { [plan] in $0.plan = plan }
    }

    func store(_ reports: [Report]) { state.withLock { $0.stored = reports } }

    /// The report number `step` of a rank, on ten steps.
    func report(step: Int, rank: Int, revision: Int = 1, of run: String = "run") -> Report {
        let loads = rank == 0 ? [[Int]](repeating: [9000, 100, 8000, 100, 7000, 100, 6000, 100], count: 2) : nil
        let sample = PerformanceSample(
            firstStep: 10 * step, stepCount: 10, planRevision: revision, stepSeconds: 10,
            phaseSeconds: ["experts": revision > 1 ? 4 : rank == 0 ? 8 : 0.5, "dispatch": 0.1, "combine": 0.1],
            bytesSent: 0, tokens: 10_000, residentBytes: 0, expertLoads: loads, loss: rank == 0 ? 2 : nil)
        return Report(run: run, incarnation: 1, rank: rank, sequence: step, sample: sample)
    }

    func reports(steps: ClosedRange<Int>, revision: Int = 1, of run: String = "run") -> [Report] {
        steps.flatMap { step in [1, 0].map { report(step: step, rank: $0, revision: revision, of: run) } }
    }

    func report(steps: ClosedRange<Int>, revision: Int = 1, of run: String = "run", to loop: PlanningLoop) {
        for report in reports(steps: steps, revision: revision, of: run) { loop.applied(report) }
    }

    /// Runs that are called slow have a policy that is.
    func planningContext(of run: String) async throws -> PlanningContext? {
        var context = self.context
        if run.hasPrefix("slow") { context.subject.allocator = "exec:slow" }
        return context
    }

    func storedReports(of run: String, incarnation: Int, limit: Int) async throws -> [Report] {
        state.withLock { Array($0.stored.suffix(limit)) }
    }

    func record(_ outcome: PlanningOutcome, of run: String, incarnation: Int) async throws {
        #expect(incarnation == 1)
        state.withLock { $0.outcomes.append(outcome) }
    }

    func wait(until isMet: @Sendable () async -> Bool) async throws {
        try await eventually("planning comes so far", isMet)
    }

    /// The first outcome that `isWanted`, once it is there.
    func outcome(_ isWanted: @Sendable (PlanningOutcome) -> Bool) async throws -> PlanningOutcome? {
        try await wait { self.outcomes.contains(where: isWanted) }
        return outcomes.first(where: isWanted)
    }
}
