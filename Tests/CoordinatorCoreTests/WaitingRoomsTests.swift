import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import TestSupport
import Testing

struct WaitingRoomsTests {
    /// Answers to what rank's connections ask, by ticket.
    private struct Harness {
        var rooms: WaitingRooms
        var lastTicket = 0
        var open: [Int: Int] = [:]
        var answers: [Int: Result<WorldJoined, ControlError>] = [:]
        var now = Duration.zero

        init(limits: Limits = .standard) { rooms = WaitingRooms(limits: limits) }

        /// - Returns: the answer, if there is one at once.
        mutating func join(
            _ rank: Int, of worldSize: Int, over connection: Int, run: String? = "a", process: Int? = nil
        ) -> Result<WorldJoined, ControlError>? {
            lastTicket += 1
            open[lastTicket] = connection
            var request = Samples.joinWorld(run: run, worldSize: worldSize, rank: rank)
            // Each connection is of another process unless said otherwise.
            request.processID = process ?? connection
            take(
                rooms.join(request, from: connection, ticket: lastTicket, world: "w\(lastTicket)", at: now))
            return answers[lastTicket]
        }

        mutating func open(_ world: String?, over connection: Int) throws {
            take(try rooms.open(OpenWorld(world: world ?? "none", address: "a:1"), from: connection))
        }

        mutating func leave(_ connection: Int) {
            take(rooms.leave(connection))
            for (ticket, owner) in open where owner == connection { open[ticket] = nil }
        }

        mutating func expire(_ ticket: Int) {
            if let connection = open[ticket] { take(rooms.expire(ticket, of: connection, at: now)) }
        }

        private mutating func take(_ resolutions: [WaitingRooms.Resolution]) {
            for resolution in resolutions {
                #expect(open.removeValue(forKey: resolution.ticket) != nil, "answered twice, or never asked")
                answers[resolution.ticket] = resolution.outcome
            }
        }
    }

    private func world(_ answer: Result<WorldJoined, ControlError>?) throws -> WorldJoined {
        try #require(answer).get()
    }

    @Test func allWaitAndLearnWhereRank0Is() throws {
        var harness = Harness()
        #expect(harness.join(2, of: 3, over: 12) == nil)
        #expect(harness.join(0, of: 3, over: 10) == nil)
        #expect(harness.join(1, of: 3, over: 11) == nil)
        // Rank 0 first.
        let opened = try world(harness.answers[2])
        #expect(opened.address == nil)
        #expect(harness.answers.count == 1)
        try harness.open(opened.world, over: 10)
        for ticket in [1, 3] {
            #expect(try world(harness.answers[ticket]) == WorldJoined(world: opened.world, address: "a:1"))
        }
        for connection in 10...12 { harness.leave(connection) }
        #expect(harness.rooms.isEmpty)
    }

    @Test func theMissingAreNamed() throws {
        var limits = Limits()
        limits.listedMissingRanks = 2
        var harness = Harness(limits: limits)
        #expect(harness.join(1, of: 9, over: 1) == nil)
        harness.expire(1)
        #expect(try world(harness.answers[1]) == WorldJoined(missing: [0, 2], missingCount: 8))
        harness.leave(1)
        #expect(harness.rooms.isEmpty)
    }

    /// A rank that asks between two answers learns of the world all the same.
    @Test func aWorldThatOpensBetweenTwoQuestions() throws {
        var harness = Harness()
        #expect(harness.join(1, of: 2, over: 1) == nil)
        harness.expire(1)
        let opened = try world(harness.join(0, of: 2, over: 0))
        try harness.open(opened.world, over: 0)
        #expect(try world(harness.join(1, of: 2, over: 1)).address == "a:1")
    }

    @Test func aRankThatGoesSendsTheOthersBack() throws {
        var harness = Harness()
        #expect(harness.join(1, of: 2, over: 1) == nil)
        let first = try world(harness.join(0, of: 2, over: 0))
        harness.leave(1)
        #expect(throws: ControlError.self) { try harness.open(first.world, over: 0) }
        #expect(harness.join(0, of: 2, over: 0) == nil)
        #expect(harness.join(1, of: 2, over: 2) == nil)
        let second = try world(harness.answers[3])
        #expect(second.world != first.world)
        // What belongs to the first is refused, and from others than rank 0.
        #expect(throws: ControlError.self) { try harness.open(first.world, over: 0) }
        #expect(throws: ControlError.self) { try harness.open(second.world, over: 2) }
        try harness.open(second.world, over: 0)
    }

    @Test func theProcessThatComesLastHasTheRank() throws {
        var harness = Harness()
        #expect(harness.join(1, of: 2, over: 1) == nil)
        #expect(harness.join(1, of: 2, over: 2) == nil)
        #expect(throws: ControlError.self) { try world(harness.answers[1]) }
        let opened = try world(harness.join(0, of: 2, over: 0))
        // Rank 0 has its answer and is replaced, too: it hears of that when it opens the world, or asks again.
        #expect(try world(harness.join(0, of: 2, over: 3)).world != opened.world)
        #expect(throws: ControlError.self) { try harness.open(opened.world, over: 0) }
        #expect(throws: ControlError.self) { try world(harness.join(0, of: 2, over: 0)) }
    }

    /// A process gave up its first connection, over which its request comes after that over the second.
    @Test func aProcessDoesNotPushItselfOut() throws {
        var harness = Harness()
        #expect(harness.join(1, of: 2, over: 2, process: 7) == nil)
        let late = #expect(throws: ControlError.self) { try world(harness.join(1, of: 2, over: 1, process: 7)) }
        #expect(late?.code == .conflict)
        harness.leave(1)
        // In their order the later one counts, too.
        #expect(harness.join(1, of: 2, over: 3, process: 7) == nil)
        #expect(throws: ControlError.self) { try world(harness.answers[1]) }
        let opened = try world(harness.join(0, of: 2, over: 0))
        try harness.open(opened.world, over: 0)
        #expect(try world(harness.answers[3]).address == "a:1")
        for connection in [0, 2, 3] { harness.leave(connection) }
        #expect(harness.rooms.isEmpty)
    }

    @Test func anotherWorldSizeIsRefused() throws {
        var harness = Harness()
        #expect(harness.join(0, of: 2, over: 0) == nil)
        let refusal = #expect(throws: ControlError.self) { try world(harness.join(2, of: 3, over: 1)) }
        #expect(refusal?.code == .conflict)
        // Of another run it is another world.
        #expect(harness.join(2, of: 3, over: 1, run: "b") == nil)
        #expect(harness.join(2, of: 3, over: 2, run: nil) == nil)
        // And once nobody waits, any will do.
        harness.leave(0)
        #expect(harness.join(2, of: 3, over: 3) == nil)
    }

    /// Its connection is still there, but nobody asks.
    @Test func aMachineThatVanishedIsForgotten() throws {
        var harness = Harness()
        #expect(harness.join(1, of: 2, over: 1) == nil)
        harness.expire(1)
        harness.now = Limits.standard.worldWaitTime * 1.1
        #expect(harness.join(0, of: 2, over: 0) == nil)
        harness.expire(2)
        #expect(try world(harness.answers[2]).missing == [1])
    }

    /// Ranks come and go at random; in the end all come, and find each other.
    @Test func anyOrderOfComingAndGoing() throws {
        var random = SeededGenerator(seed: TestRuns.seed())
        for _ in 0..<300 {
            let worldSize = Int.random(in: 1...4, using: &random)
            var harness = Harness()
            var nextConnection = 0
            var connections: [Int] = []
            for _ in 0..<Int.random(in: 0...30, using: &random) {
                switch Int.random(in: 0..<6, using: &random) {
                case 0, 1, 2:
                    let rank = Int.random(in: 0..<worldSize, using: &random)
                    let idle = connections.filter { !harness.open.values.contains($0) }
                    let old = Bool.random(using: &random) ? idle.randomElement(using: &random) : nil
                    if old == nil {
                        connections.append(nextConnection)
                        nextConnection += 1
                    }
                    if case .success(let answer)? = harness.join(rank, of: worldSize, over: old ?? nextConnection - 1),
                        rank == 0, Bool.random(using: &random)
                    {
                        try? harness.open(answer.world, over: old ?? nextConnection - 1)
                    }
                case 3:
                    if let gone = connections.randomElement(using: &random) { harness.leave(gone) }
                case 4:
                    if let ticket = harness.open.keys.sorted().randomElement(using: &random) { harness.expire(ticket) }
                default: harness.now += .seconds(Int.random(in: 0...7, using: &random))
                }
            }
            for connection in connections { harness.leave(connection) }
            #expect(harness.rooms.isEmpty)
            #expect(harness.open.isEmpty)

            let start = harness.lastTicket
            let ranks = (0..<worldSize).shuffled(using: &random)
            for rank in ranks { _ = harness.join(rank, of: worldSize, over: 1_000 + rank) }
            let own = start + 1 + (ranks.firstIndex(of: 0) ?? 0)
            try harness.open(world(harness.answers[own]).world, over: 1_000)
            for ticket in start + 1...start + worldSize where ticket != own {
                #expect(try world(harness.answers[ticket]).address == "a:1")
            }
        }
    }
}
