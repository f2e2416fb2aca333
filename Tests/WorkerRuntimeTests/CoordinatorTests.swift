import Checkpoints
import ControlProtocol
import CoordinatorService
import ExpertPlacement
import Foundation
import Layers
import Logging
import MessagePassing
import Synchronization
import Testing
import WorkerRuntime

/// Runs that report to a coordinator over TCP.
@Suite struct CoordinatorTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    /// A coordinator with a database of its own, until `body` returns.
    private func withCoordinator(
        at address: String = "127.0.0.1:0", database: String = "moe-\(UUID().uuidString).db",
        keys: AcceptedKeys = AcceptedKeys(), _ body: (Endpoint, CoordinatorServer) async throws -> Void
    ) async throws {
        let store = try CoordinatorStore(path: fixture.path(database))
        let listener = try await Listener(Endpoint(address), keys: keys)
        let server = CoordinatorServer(
            store: store, listener: listener, limits: .standard,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            defer { server.stop() }
            try await body(listener.endpoint, server)
        }
        try store.close()
    }

    @Test func runIsRecordedAndItsReportsArrive() async throws {
        try await withCoordinator { endpoint, _ in
            let lines = try await onOwnThread {
                try fixture.train(worldSize: 2, steps: 12) { options in
                    options.coordinator = "\(endpoint)"
                    options.run = "tiny"
                    options.allocator = "expert-parallel"
                    options.reportInterval = 5
                }
            }
            let client = try await ControlClient.connect(to: endpoint)
            defer { client.close() }
            let run = try await client.send(ShowRun(run: "tiny"))
            #expect(run.summary.state == .completed)
            #expect(run.summary.worldSize == 2)
            #expect(run.summary.planRevision == 1)
            #expect(run.summary.allocator == "expert-parallel")
            #expect(run.summary.step == 12)
            #expect(run.summary.loss == lines.last?.loss)
            #expect(run.configuration["steps"] == "12")
            // Steps 1 and 2, 3 to 5, 6 to 10, and 11 and 12; from each rank.
            #expect(run.storedReports == 8)
            let placement = try await client.send(ShowPlacement(run: "tiny"))
            #expect(placement.plan.revision == 1)
            for layer in placement.plan.layers { #expect(layer.experts.map(\.mesh.ranks) == [[0], [1], [0], [1]]) }
            let workers = try await client.send(ListWorkers(run: "tiny")).workers
            #expect(workers.map(\.rank) == [0, 1])
            #expect(workers.allSatisfy { $0.step == 12 && ($0.stepSeconds ?? 0) > 0 && ($0.residentBytes ?? 0) > 0 })
        }
    }

    /// Rank 0 tells for all ranks what experts computed and what they dropped, which add up to what was routed.
    @Test func whatIsDroppedArrivesOnce() async throws {
        try await withCoordinator { endpoint, _ in
            let lines = try await onOwnThread {
                try fixture.train(worldSize: 2, steps: 12) { options in
                    options.coordinator = "\(endpoint)"
                    options.run = "tiny"
                    options.reportInterval = 5
                    options.microBatches = 2
                    options.capacity = ExpertCapacity(factor: 0.9)
                }
            }
            let client = try await ControlClient.connect(to: endpoint)
            defer { client.close() }
            let loads = try await client.send(ListLoads(run: "tiny")).loads
            let intervals = try await client.send(ListIntervals(run: "tiny")).intervals
            #expect(loads.map(\.stepCount) == [2, 3, 5, 2] && intervals.map(\.number) == loads.map(\.number))
            for (loads, interval) in zip(loads, intervals) {
                let lines = lines.filter { (loads.firstStep..<loads.firstStep + loads.stepCount).contains($0.step) }
                let dropped = (0..<2).map { layer in lines.reduce(0) { $0 + $1.droppedTokens[layer] } }
                let routed = (0..<2).map { layer in lines.reduce(0) { $0 + $1.expertLoad[layer].reduce(0, +) } }
                #expect(loads.droppedTokens == dropped && dropped.allSatisfy { $0 > 0 })
                #expect(zip(loads.expertLoads, dropped).map { $0.reduce($1, +) } == routed)
                #expect(interval.droppedShare == Double(dropped.reduce(0, +)) / Double(routed.reduce(0, +)))
            }
        }
    }

    @Test func anotherWorldSizeGetsANewRevision() async throws {
        try await withCoordinator { endpoint, _ in
            var revisions = [Int]()
            for worldSize in [2, 2, 3] {
                let lines = try await onOwnThread {
                    try fixture.train(worldSize: worldSize, steps: 1) { options in
                        options.coordinator = "\(endpoint)"
                        options.run = "tiny"
                    }
                }
                revisions += lines.map(\.planRevision)
            }
            #expect(revisions == [1, 1, 2])
            let client = try await ControlClient.connect(to: endpoint)
            defer { client.close() }
            let run = try await client.send(ShowRun(run: "tiny"))
            #expect(run.summary.incarnation == 3)
            #expect(run.summary.worldSize == 3)
        }
    }

    /// The coordinator's database is lost: a start from the checkpoint uses no number again, and stays where the experts were.
    @Test func aCheckpointOutlivesTheDatabase() async throws {
        let directory = fixture.path("checkpoints")
        var revisions = [Int]()
        for (database, steps) in [("first.db", 4), ("first.db", 6), ("second.db", 8)] {
            try await withCoordinator(database: database) { endpoint, _ in
                let lines = try await onOwnThread {
                    try fixture.train(worldSize: 2, steps: steps) { options in
                        options.coordinator = "\(endpoint)"
                        options.run = "tiny"
                        options.checkpointDirectory = directory
                    }
                }
                revisions += lines.map(\.planRevision)
            }
        }
        try await withCoordinator(database: "second.db") { endpoint, _ in
            let client = try await ControlClient.connect(to: endpoint)
            defer { client.close() }
            let listed = try await client.send(ListCheckpoints(run: "tiny"))
            #expect(listed.checkpoints.map(\.step) == [8] && listed.checkpoints.first?.incarnation == 3)
            #expect(listed.checkpoints.first?.path == "\(directory)/step-8")
        }
        // The last of a coordinator that knew of none.
        #expect(revisions == [1, 1, 1, 1, 1, 1, 2, 2])
        let manifest = try Checkpoint(path: "\(directory)/step-8").manifest
        #expect(manifest.incarnation == 3 && manifest.largestRevision == 2)
    }

    @Test func trainingGoesOnWithoutTheCoordinator() async throws {
        try await withCoordinator { endpoint, server in
            var options = fixture.options(steps: 1)
            options.coordinator = "\(endpoint)"
            options.coordinatorTimeoutSeconds = 60
            let final = options
            let model = ExpertModel(hiddenSize: 4, layers: [[4]])
            let sample = PerformanceSample(
                firstStep: 1, stepCount: 1, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0,
                tokens: 1, residentBytes: 1)
            try await onOwnThread {
                let communicator = ThreadCommunicator()
                let control = try ControlPlane.open(
                    options: final, model: model, cluster: Cluster(nodes: communicator.nodes()),
                    communicator: communicator,
                    logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
                #expect(control.plan.revision == 1)
                server.stop()
                for _ in 0..<1000 { control.report(sample) }
                try control.complete(step: 1, communicator: communicator)
            }
        }
    }

    /// The coordinator comes back with the job's key as one for operators only, then as it should: the reports wait.
    @Test func reportsOutliveAChangeOfKeys() async throws {
        let (own, other) = (fixture.path("job.key"), fixture.path("other.key"))
        for file in [own, other] { try ControlKey.generate(file: file) }
        let (events, happened) = AsyncStream.makeStream(of: String.self)
        var event = events.makeAsyncIterator()
        let (isBack, isRight) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        var options = fixture.options(steps: 1)
        options.run = "tiny"
        options.coordinatorTimeoutSeconds = 60
        options.keyFile = own

        var address = ""
        var job: Task<Void, any Error>?
        try await withCoordinator(database: "moe.db", keys: AcceptedKeys(files: [own])) { endpoint, _ in
            address = "\(endpoint)"
            options.coordinator = address
            let final = options
            job = Task {
                try await onOwnThread {
                    let communicator = ThreadCommunicator()
                    let control = try ControlPlane.open(
                        options: final, model: ExpertModel(hiddenSize: 4, layers: [[4]]),
                        cluster: Cluster(nodes: communicator.nodes()), communicator: communicator,
                        logger: Logger(label: "test") { _ in EventLog(happened: happened) })
                    happened.yield("opened")
                    isBack.wait()
                    for _ in 0..<2 {
                        control.report(
                            PerformanceSample(
                                firstStep: 1, stepCount: 1, planRevision: 1, stepSeconds: 1, phaseSeconds: [:],
                                bytesSent: 0, tokens: 1, residentBytes: 1))
                    }
                    isRight.wait()
                    try control.complete(step: 1, communicator: communicator)
                }
            }
            #expect(await event.next() == "opened")
        }
        let forOperators = try AcceptedKeys(files: [other], operatorFiles: [own])
        try await withCoordinator(at: address, database: "moe.db", keys: forOperators) { _, _ in
            isBack.signal()
            var line = await event.next()
            while let said = line, !said.contains("report") { line = await event.next() }
            #expect(line?.contains("reports wait, the training goes on: register_worker is for workers") == true)
        }
        try await withCoordinator(at: address, database: "moe.db", keys: AcceptedKeys(files: [own])) { endpoint, _ in
            isRight.signal()
            try await job?.value
            let client = try await ControlClient.connect(to: endpoint, key: ControlKey(file: own))
            defer { client.close() }
            let run = try await client.send(ShowRun(run: "tiny"))
            #expect(run.storedReports == 2)
            #expect(run.summary.state == .completed)
        }
    }

    /// Hands on what is logged.
    private struct EventLog: LogHandler {
        let happened: AsyncStream<String>.Continuation
        var logLevel = Logger.Level.warning
        var metadata = Logger.Metadata()

        init(happened: AsyncStream<String>.Continuation) { self.happened = happened }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { happened.yield("\(event.message)") }
    }

    @Test func jobEndsWhenItsRunIsStartedAgain() async throws {
        try await withCoordinator { endpoint, _ in
            var options = fixture.options(steps: 1 << 40)
            options.coordinator = "\(endpoint)"
            options.run = "tiny"
            options.reportInterval = 1
            let request = RegisterRun(
                run: "tiny", registration: "again", worldSize: 1, nodes: [0],
                model: ExpertModel(hiddenSize: 4, layers: [[4]]), allocator: "replicated", host: "elsewhere",
                processID: 1)
            // Rank 0 shows its first step; from then on there is another incarnation.
            let startAgain = StartAgain(endpoint: endpoint, request: request)
            let failures = try await failures(of: options, onLine: startAgain.notice)
            #expect(failures.map(\.exitCode) == [77, 77])
            let reason = failures.compactMap(\.reason)
            #expect(reason.count == 1)
            #expect("\(reason)".contains("its incarnation 1 is over"), "\(reason)")
            // The end of the old one does not end the new one.
            let client = try await ControlClient.connect(to: endpoint)
            defer { client.close() }
            let run = try await client.send(ShowRun(run: "tiny")).summary
            #expect(run.incarnation == 2)
            #expect(run.state == .running)
        }
    }

    /// Registers a run again when its job shows a step.
    private final class StartAgain: Sendable {
        private let isDone = Mutex(false)
        private let endpoint: Endpoint
        private let request: RegisterRun

        init(endpoint: Endpoint, request: RegisterRun) {
            self.endpoint = endpoint
            self.request = request
        }

        func notice(_ line: String) {
            guard line.hasPrefix("step ") else { return }
            let wasDone = isDone.withLock { isDone in
                defer { isDone = true }
                return isDone
            }
            if wasDone { return }
            let hasEnded = DispatchSemaphore(value: 0)
            Task { [endpoint, request] in
                let client = try? await ControlClient.connect(to: endpoint)
                _ = try? await client?.send(request)
                client?.close()
                hasEnded.signal()
            }
            hasEnded.wait()
        }
    }

    @Test func failureIsRecordedWithItsReason() async throws {
        try await withCoordinator { endpoint, _ in
            await #expect(throws: JobFailure.self) {
                try await onOwnThread {
                    _ = try fixture.train(worldSize: 2, steps: 5) { options in
                        options.coordinator = "\(endpoint)"
                        options.run = "tiny"
                        options.schedule.learningRate = 1e38
                        options.gradientClip = 0
                    }
                }
            }
            let client = try await ControlClient.connect(to: endpoint)
            defer { client.close() }
            let run = try await client.send(ShowRun(run: "tiny"))
            #expect(run.summary.state == .failed)
            #expect(run.reason?.contains("step 2: the loss is not finite") == true, "\(run.reason ?? "no reason")")
        }
    }

    @Test func refusalEndsTheJobOnAllRanks() async throws {
        try await withCoordinator { endpoint, _ in
            var options = fixture.options(steps: 1)
            options.coordinator = "\(endpoint)"
            options.allocator = "dp=2,tp=2"
            let failures = try await failures(of: options)
            #expect(failures.map(\.exitCode) == [77, 77])
            #expect("\(failures[0])".contains("refused the run"), "\(failures[0])")
            #expect(failures[1].reason == nil)
        }
    }

    @Test func absentCoordinatorIsWaitedForOnlySoLong() async throws {
        // A port that was free a moment ago, and that nobody listens on.
        var closed: Endpoint?
        try await withCoordinator { endpoint, _ in closed = endpoint }
        var options = fixture.options(steps: 1)
        options.coordinator = "\(try #require(closed))"
        options.coordinatorTimeoutSeconds = 0.3
        let failures = try await failures(of: options)
        #expect(failures.map(\.exitCode) == [69, 69])
        #expect("\(failures[0])".contains("no coordinator answered at 127.0.0.1:"), "\(failures[0])")
        #expect(failures[1].reason == nil)
    }

    private func failures(
        of options: TrainingOptions, onLine: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> [JobFailure] {
        let results = try await onOwnThread {
            try outcomes(worldSize: 2) { communicator in
                let display = ProgressDisplay(steps: options.steps, interval: 1 << 40, isTerminal: false, write: onLine)
                try Trainer(
                    options: options, communicator: communicator, nodes: communicator.nodes(), display: display
                ).run()
            }
        }
        return results.compactMap { result in
            guard case .failure(let error) = result else { return nil }
            return error as? JobFailure
        }
    }
}
