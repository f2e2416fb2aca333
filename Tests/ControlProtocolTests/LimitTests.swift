import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import Testing

/// What is at a limit is taken, and what is over it refused with an error that names the field and the limit.
struct LimitTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let limit: any WritableKeyPath<Limits, Int> & Sendable
        let field: String
        /// With so much of what is limited.
        let request: @Sendable (Int) throws -> any ControlRequest

        init(
            _ limit: any WritableKeyPath<Limits, Int> & Sendable, _ field: String,
            _ request: @escaping @Sendable (Int) throws -> any ControlRequest
        ) {
            self.limit = limit
            self.field = field
            self.request = request
        }

        var testDescription: String { field }

        /// What the limit is called: what differs when it does.
        var name: String? {
            var other = Limits()
            other[keyPath: limit] += 1
            return zip(Mirror(reflecting: Limits()).children, Mirror(reflecting: other).children).first {
                "\($0.value)" != "\($1.value)"
            }?.0.label
        }
    }

    private static func text(_ count: Int) -> String { String(repeating: "a", count: count) }

    private static func registration(_ change: (inout RegisterRun) -> Void) -> RegisterRun {
        var request = Samples.registerRun()
        request.configuration = [:]
        change(&request)
        return request
    }

    private static let cases = [
        Case(\.runNameBytes, "run") { count in registration { $0.run = text(count) } },
        Case(\.identifierBytes, "registration") { count in registration { $0.registration = text(count) } },
        Case(\.hostNameBytes, "host") { count in registration { $0.host = text(count) } },
        Case(\.allocatorNameBytes, "allocator") { count in registration { $0.allocator = text(count) } },
        Case(\.identifierBytes, "a configuration key") { count in
            registration {
                $0.registration = "a"
                $0.configuration = [text(count): "x"]
            }
        },
        Case(\.configurationValueBytes, "configuration") { count in
            registration { $0.configuration = ["a": text(count)] }
        },
        Case(\.configurationEntries, "configuration") { count in
            registration {
                $0.configuration = [String: String](uniqueKeysWithValues: (0..<count).map { ("\($0)", "") })
            }
        },
        Case(\.worldSize, "world_size") { count in
            registration {
                $0.worldSize = count
                $0.nodes = [Int](repeating: 0, count: count)
            }
        },
        Case(\.layers, "model.layers") { count in
            registration { $0.model = ExpertModel(hiddenSize: 1, layers: [[Int]](repeating: [1], count: count)) }
        },
        Case(\.expertsPerLayer, "model.layers[0]") { count in
            registration { $0.model = ExpertModel(hiddenSize: 1, layers: [[Int](repeating: 1, count: count)]) }
        },
        Case(\.experts, "model.layers") { count in
            registration { $0.model = ExpertModel(hiddenSize: 1, layers: [[Int](repeating: 1, count: count)]) }
        },
        Case(\.width, "model.hidden_size") { count in
            registration { $0.model = ExpertModel(hiddenSize: count, layers: [[1]]) }
        },
        Case(\.modelSize, "model.hidden_size") { count in
            registration { $0.model = ExpertModel(hiddenSize: count, layers: [[1]]) }
        },
        Case(\.phases, "phase") { count in
            var sample = Samples.sample()
            sample.phaseSeconds = [String: Double](uniqueKeysWithValues: (0..<count).map { ("p\($0)", 1) })
            return Samples.report(sample: sample)
        },
        Case(\.reportsPerFrame, "reports") { count in Samples.reports(1...count) },
        Case(\.pathBytes, "path") { count in
            RecordCheckpoint(run: "a", incarnation: 1, step: 1, path: text(count), bytes: 1, seconds: 1)
        },
        Case(\.reasonBytes, "why") { count in
            ControlPlanning(run: "a", freeze: true, pin: [], unpin: [], dryRun: false, who: "a", why: text(count))
        },
        Case(\.whoBytes, "who") { count in
            ControlPlanning(run: "a", freeze: true, pin: [], unpin: [], dryRun: false, who: text(count), why: "a")
        },
        Case(\.worldSize, "world_size") { count in Samples.joinWorld(worldSize: count) },
        Case(\.identifierBytes, "world") { count in OpenWorld(world: text(count), address: "a:1") },
        Case(\.reasonBytes, "reason") { count in
            FinishRun(run: "a", incarnation: 1, outcome: .failed, step: 1, reason: text(count))
        },
        Case(\.integer, "step") { count in FinishRun(run: "a", incarnation: 1, outcome: .failed, step: count) },
        Case(\.planRanks, "the plan's meshes") { count in
            let model = ExpertModel(hiddenSize: 1, layers: [[Int](repeating: 1, count: count)])
            let plan = try StaticAllocator(.expertParallel).allocateExperts(
                current: nil, model: model, cluster: Cluster(worldSize: 1), step: 0)
            return ProposePlacement(run: "a", plan: plan, who: "a", why: "a")
        },
        Case(\.backupNameBytes, "file") { count in BackUpDatabase(file: text(count)) },
    ]

    /// Limits of other things than counts in messages, and what holds each.
    private static let others = [
        "frameBytes": "FrameTests.aLengthOverTheLimitIsRefusedBeforeAnythingElseComes",
        "bufferedBytes": "HostileClientTests.onlySoManyBytesAreHeld",
        "smallAnswerBytes": "HostileClientTests.answersThatFindNoRoomAreRefused",
        "reads": "HostileClientTests.onlySoManyAnswersAreMadeAtATime",
        "connections": "HostileClientTests.onlySoManyConnections",
        "pendingConnections": "HostileClientTests.onlySoManyConnectionsWait",
        "idleTime": "HostileClientTests.idleAndSlowClientsAreEnded",
        "transferTime": "HostileClientTests.aClientThatNeverReadsBlocksNobodyAndIsEnded",
        "shutdownTime": "HostileClientTests.aClientThatNeverReadsHoldsUpNoEnd",
        "keysPerRole": "ControlKeyTests.acceptedKeysAreFewAndDifferent",
        "refusalLogInterval": "RefusalLogTests.manyRefusalsAreFewLines",
        "httpConnections": "HTTPTests.requestsAndConnectionsHaveLimits",
        "httpRequestBytes": "HTTPTests.requestsAndConnectionsHaveLimits",
        "httpTime": "HTTPTests.requestsAndConnectionsHaveLimits",
        "httpStreams": "LiveStreamTests.streamsAreCountedApart",
        "liveInterval": "LiveStreamTests.newsComeAsTheyHappen",
        "liveSilence": "LiveStreamTests.silenceIsBroken",
        "httpReads": "TurnstileTests.onlySoManyPassAtATime",
        "meteredRuns": "MetricsTests.runsAreFew",
        "endedRunTime": "MetricsTests.runsThatEndAreToldOfForAWhile",
        "healthCheckTime": "HTTPTests.aDatabaseThatHangsIsNotWaitedFor",
        "worldWaitTime": "WaitingRoomsTests.aMachineThatVanishedIsForgotten",
        "listedMissingRanks": "WaitingRoomsTests.theMissingAreNamed",
        "worldAssemblyTime": "RendezvousTests.rankZeroThatCannotBeReached",
        "strangersAtRankZero": "RendezvousTests.strangersAtRankZero",
        "rankMessageBytes": "RendezvousTests.strangersAtRankZero",
        "rankSilence": "ApartTests.silenceOfAnyRankEndsAll",
        "rankBeat": "RendezvousTests.ranksMeetAndPart",
        "requestsInFlight": "ControlClientTests.onlySoManyRequestsWait",
        "queuedChanges": "OverloadTests.onlySoManyChangesAreQueuedAndCommittedTogether",
        "queuedReports": "OverloadTests.reportsAreShedAndPlansAreNot",
        "planningReports": "PlanningLoopTests.reportsThatAPolicyIsTooSlowForAreLeftOut",
        "planningThreads": "PlanningLoopTests.onlySoManyPoliciesAreAtWork",
        "changesPerCommit": "OverloadTests.onlySoManyChangesAreQueuedAndCommittedTogether",
        "residentRuns": "CoordinatorCoreTests.runsUsedLongestAgoLeaveAfterACommit",
        "seconds": "LimitTests.secondsOverTheLimitAreRefused",
        "silentTime": "LeaseTests.silenceCountsByTheClockThatNobodySets",
        "restoredGap": "RestoreTests.theClockMayBeSetBack",
        "freeDiskBytes": "HTTPTests.whatIsWrongHasAName",
        "storedReportsPerRun": "CoordinatorCoreTests.onlySoManyReportsAreKept",
        "listedRuns": "QueryTests.listingsAreCut",
        "listedWorkers": "QueryTests.listingsAreCut",
        "listedEvents": "QueryTests.listingsAreCut",
        "listedPlans": "QueryTests.listingsAreCut",
        "listedCheckpoints": "CheckpointRecordTests.theyAreListedTheLastFirst",
        "listedIntervals": "IntervalQueryTests.pagesAreCut",
        "listedLoads": "IntervalQueryTests.pagesAreCut",
        "listedLoadBytes": "IntervalQueryTests.pagesAreCut",
        "pagedEvents": "IntervalQueryTests.pagesAreCut",
        "storedCheckpointsPerRun": "CheckpointRecordTests.theyAreListedTheLastFirst",
    ]

    @Test func everyLimitHasATest() throws {
        let names = Mirror(reflecting: Limits()).children.compactMap(\.label)
        let cases = Set(Self.cases.compactMap(\.name))
        #expect(cases.isDisjoint(with: Self.others.keys))
        #expect(Set(names) == cases.union(Self.others.keys))
        let tests = Repository.root.appending(path: "Tests")
        let files = try #require(FileManager.default.enumerator(at: tests, includingPropertiesForKeys: nil))
            .compactMap { $0 as? URL }
        for (limit, test) in Self.others {
            let parts = test.split(separator: ".")
            let file = try #require(files.first { $0.lastPathComponent == "\(parts[0]).swift" }, "\(test)")
            let source = try String(contentsOf: file, encoding: .utf8)
            #expect(source.contains("func \(parts[1])("), "\(limit): \(test)")
        }
    }

    @Test func secondsOverTheLimitAreRefused() throws {
        var limits = Limits()
        limits.seconds = 7
        var sample = Samples.sample()
        sample.phaseSeconds = ["experts": 7]
        sample.stepSeconds = 7
        #expect(try error(Samples.report(sample: sample), limits) == nil)
        for phase in [true, false] {
            var slow = sample
            if phase { slow.phaseSeconds["experts"] = 7.5 } else { slow.stepSeconds = 7.5 }
            let refusal = try #require(try error(Samples.report(sample: slow), limits))
            #expect(refusal.code == .limitExceeded)
            #expect(refusal.message.contains("seconds") && refusal.message.contains("from 0 to 7"))
        }
    }

    @Test(arguments: cases) func whatIsOverALimitIsRefused(_ test: Case) throws {
        let limit = 7
        var limits = Limits()
        limits[keyPath: test.limit] = limit
        #expect(try error(test.request(limit), limits) == nil)
        let refusal = try #require(try error(test.request(limit + 1), limits))
        #expect(refusal.code == .limitExceeded)
        #expect(refusal.message.contains(test.field), "\(refusal.message)")
        #expect(refusal.message.contains(/\b7\b/), "\(refusal.message)")
    }

    private func error(_ request: some ControlRequest, _ limits: Limits) throws -> ControlError? {
        let frame = try MessageCodec.frame(request, requestID: 1)
        do {
            _ = try MessageCodec.request(frame.dropFirst(Frame.headerBytes), limits: limits).request.get()
        } catch {
            return error
        }
        return nil
    }
}
