import ControlProtocol
import ControlTestSupport
import ExpertParallelism
import ExpertPlacement
import Logging
import Testing
import WorkerRuntime

@Suite struct PlanChannelTests {
    private let plans = FakePlans()

    private func plan(_ revision: Int) throws -> PlacementPlan {
        var allocator = try Allocators.make(named: "expert-parallel")
        let model = ExpertModel(hiddenSize: 4, layers: [[4], [4]])
        var plan = try #require(
            try allocator.allocateExperts(current: nil, model: model, cluster: Cluster(worldSize: 1), step: 0))
        plan.revision = revision
        return plan
    }

    private func event(_ kind: PlanEvent.Kind, step: Int, layers: [Int] = [], revision: Int = 2) -> PlanEvent {
        var migration = MigrationReport()
        migration.layers = layers
        migration.totalBytes = 100 * layers.count
        migration.transferSeconds = Double(layers.count)
        migration.checksumSeconds = 0.25 * Double(layers.count)
        return PlanEvent(revision: revision, step: step, kind: kind, migration: migration)
    }

    /// Off the cooperative pool; long enough for a busy machine unless said otherwise.
    private func end(_ channel: PlanChannel, within limit: Duration = .seconds(60)) async throws -> Int {
        try await onOwnThread { channel.finish(within: limit) }
    }

    @Test func planIsTakenAndItsFateTold() async throws {
        plans.with { $0.proposed = try? plan(2) }
        let channel = plans.channel()
        await plans.answered()
        #expect(channel.hasPlan(before: 1))
        #expect(channel.takePlan() == (try plan(2)))
        #expect(!channel.hasPlan(before: 1))
        #expect(channel.takePlan() == nil)
        plans.with { $0.proposed = nil }
        channel.note(event(.accepted, step: 7))
        channel.note(event(.switched, step: 7, layers: [1]))
        // The last event is of the whole plan.
        channel.note(event(.applied, step: 8, layers: [1, 0]))
        await plans.until { $0.polls.last == 2 }
        #expect(try await end(channel) == 0)
        let received = plans.with { $0.received }
        #expect(received.map(\.transition) == [.accepted, .applying, .applied])
        #expect(received.allSatisfy { $0.run == "tiny" && $0.incarnation == 3 && $0.revision == 2 })
        #expect(received.map(\.step) == [7, 7, 8])
        let first = LayerSwitch(layer: 1, step: 7)
        #expect(received.map(\.switched) == [[], [first], [first, LayerSwitch(layer: 0, step: 8)]])
        #expect(received.map(\.bytes) == [0, 100, 200])
        #expect(received.map(\.seconds) == [0, 1.25, 2.5])
        #expect(received.map(\.verifySeconds) == [0, 0.25, 0.5])
    }

    /// After what there is to tell of plans, and again until it is acknowledged; of very many the oldest are forgotten.
    @Test func checkpointsAreTold() async throws {
        let channel = plans.channel()
        await plans.answered()
        channel.note(checkpoint: 10, path: "/data/step-10", bytes: 7, seconds: 0.5)
        await plans.until { $0.checkpoints == [10] }
        plans.with { $0.isAway = true }
        for step in 1...PlanBook.checkpointLimit + 5 {
            channel.note(checkpoint: 10 + step, path: "/data", bytes: 7, seconds: 0.5)
        }
        plans.with { $0.isAway = false }
        #expect(try await end(channel) == 0)
        let told = plans.with { $0.checkpoints }
        #expect(told.last == 10 + PlanBook.checkpointLimit + 5)
        #expect(told == told.sorted() && told.count >= PlanBook.checkpointLimit)
    }

    @Test func withdrawnPlanIsNotTaken() async throws {
        plans.with { $0.proposed = try? plan(2) }
        let channel = plans.channel()
        await plans.answered()
        plans.with { $0.proposed = nil }
        await plans.answered()
        #expect(channel.takePlan() == nil)
        plans.with { $0.proposed = try? plan(3) }
        await plans.answered()
        #expect(channel.takePlan()?.revision == 3)
        _ = try await end(channel)
    }

    /// What the trainer has seen it also gets, a step later, and until it is told of it nothing else.
    @Test func planThatWasSeenStays() throws {
        var book = PlanBook(run: "tiny", incarnation: 1, revision: 1)
        var hasPlan = book.promise()
        #expect(!hasPlan)
        book.offer(try plan(2))
        book.offer(try plan(3))
        hasPlan = book.promise()
        #expect(hasPlan)
        for late in [nil, try plan(4)] {
            #expect(book.question == nil)
            book.offer(late)
        }
        var taken = book.take()
        #expect(taken?.revision == 3)
        book.offer(try plan(4))
        taken = book.take()
        #expect(taken == nil)
        book.note(event(.rejected(reason: "no"), step: 1, revision: 3))
        #expect(book.question == 1)
        book.offer(try plan(3))
        taken = book.take()
        #expect(taken == nil)
    }

    @Test func refusalIsTold() async throws {
        plans.with { $0.proposed = try? plan(2) }
        let channel = plans.channel()
        await plans.answered()
        #expect(channel.takePlan() != nil)
        channel.note(event(.rejected(reason: "rank 1: " + String(repeating: "too much ", count: 1000)), step: 4))
        await plans.until { !$0.received.isEmpty }
        // The coordinator may offer it until it has noted the refusal; it is the same plan all the same.
        await plans.answered()
        #expect(!channel.hasPlan(before: 1))
        plans.with { $0.proposed = try? plan(3) }
        await plans.answered()
        #expect(channel.takePlan()?.revision == 3)
        #expect(try await end(channel) == 0)
        let message = try #require(plans.with { $0.received.first })
        #expect(message.transition == .rejected)
        #expect(message.step == 4)
        try message.validate(within: .standard)
        #expect(message.reason?.hasSuffix("too much ") == true)
        #expect(plans.with { $0.polls }.allSatisfy { $0 == 1 })
    }

    /// Text is cut before what would be too long, though one character has it all.
    @Test(arguments: [
        "a" + String(repeating: "\u{301}", count: 2_000),
        String(repeating: "\u{1112}\u{1161}\u{11AB}", count: 1_000),
        "\u{1F600}" + String(repeating: "b", count: 1_023),
    ])
    func longReasonsFit(reason: String) throws {
        var book = PlanBook(run: "tiny", incarnation: 1, revision: 1)
        book.note(event(.rejected(reason: reason), step: 4))
        let message = try #require(book.messages.first)
        try message.validate(within: .standard)
        let fitted = try #require(message.reason)
        #expect(reason.unicodeScalars.reversed().starts(with: fitted.unicodeScalars.reversed()))
        #expect(fitted.utf8.count > Limits.standard.reasonBytes - 4)
    }

    /// What does not answer a message refuses nothing: the ranks' word is kept, and sent again over another connection.
    @Test(arguments: HostileAnswer.allCases)
    func onlyAnswersRefuse(answer: HostileAnswer) async throws {
        let server = try ScriptedServer { connection in
            try answer.send(over: connection, id: connection.receiveID())
            _ = try? connection.receiveID()
        }
        let connection = try await CoordinatorPlans.connect(
            to: CoordinatorAccess("127.0.0.1:\(server.port)", keyFile: nil),
            as: WorkerIdentity(run: "shakespeare", incarnation: 1, rank: 0))
        let error = await #expect(throws: (any Error).self) { try await connection.send(Samples.progress(.applied)) }
        #expect((error is PlanRefused) == answer.isRefusal, "\(String(describing: error))")
        #expect((error is ControlError) == !answer.isRefusal)
        await connection.close()
    }

    /// A coordinator that goes after a plan was accepted hears the rest when it is back, in order.
    @Test func messagesWaitWhileTheCoordinatorIsAway() async throws {
        plans.with { $0.proposed = try? plan(2) }
        let channel = plans.channel()
        await plans.answered()
        #expect(channel.takePlan() != nil)
        channel.note(event(.accepted, step: 7))
        await plans.until { !$0.received.isEmpty }
        let attempts = plans.with { state in
            state.isAway = true
            return state.attempts
        }
        channel.note(event(.switched, step: 7, layers: [0]))
        channel.note(event(.applied, step: 8, layers: [0, 1]))
        await plans.until { $0.attempts >= attempts + 3 }
        let polls = plans.with { state in
            #expect(state.transitions == [.accepted])
            state.isAway = false
            return state.polls.count
        }
        await plans.until { $0.transitions == [.accepted, .applying, .applied] && $0.polls.count > polls }
        #expect(plans.with { $0.polls[polls] } == 2)
        #expect(!channel.hasPlan(before: 1))
        #expect(try await end(channel) == 0)
    }

    @Test func messageWhoseAcknowledgementIsLostIsSentAgain() async throws {
        plans.with { state in
            state.proposed = try? plan(2)
            state.lostAcknowledgements = 2
        }
        let channel = plans.channel()
        await plans.answered()
        #expect(channel.takePlan() != nil)
        channel.note(event(.accepted, step: 7))
        channel.note(event(.applied, step: 7, layers: [0, 1]))
        #expect(try await end(channel) == 0)
        #expect(plans.with { $0.transitions } == [.accepted, .accepted, .accepted, .applied])
    }

    @Test func messageThatIsRefusedDoesNotHoldUpOthers() async throws {
        plans.with { state in
            state.proposed = try? plan(2)
            state.refuses = [.accepted]
        }
        let channel = plans.channel()
        await plans.answered()
        #expect(channel.takePlan() != nil)
        channel.note(event(.accepted, step: 7))
        channel.note(event(.applied, step: 7, layers: [0, 1]))
        #expect(try await end(channel) == 0)
        #expect(plans.with { $0.transitions } == [.applied])
    }

    @Test func endOfTheIncarnationIsNoticed() async throws {
        let channel = plans.channel()
        await plans.answered()
        #expect(!channel.isSuperseded)
        plans.with { $0.isOver = true }
        channel.note(event(.accepted, step: 7))
        #expect(try await end(channel) == 1)
        #expect(channel.isSuperseded)
    }

    @Test func endIsBoundedWhenNobodyListens() async throws {
        plans.with { $0.proposed = try? plan(2) }
        let channel = plans.channel()
        await plans.answered()
        #expect(channel.takePlan() != nil)
        plans.with { $0.isAway = true }
        channel.note(event(.accepted, step: 7))
        channel.note(event(.applied, step: 7, layers: [0, 1]))
        #expect(try await end(channel, within: .milliseconds(50)) == 2)
    }

    @Test func endIsSoonWhenAConnectionHangs() async throws {
        let channel = PlanChannel(
            run: "tiny", incarnation: 1, revision: 1, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) {
            try await Task.sleep(for: .seconds(3600))
            throw FakePlans.Away()
        }
        #expect(!channel.hasPlan(before: 1))
        #expect(try await end(channel) == 0)
    }
}
