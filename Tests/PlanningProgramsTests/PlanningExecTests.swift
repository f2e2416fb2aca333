import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import PlanningPrograms
import TestSupport
import Testing

/// `exec:ALIAS` with real programs, good and bad.
@Suite(.serialized) struct PlanningExecTests {
    private static let model = ExpertModel(hiddenSize: 8, layers: [[16, 16, 16, 16], [16, 16, 16, 16]])
    private static let loads = [[400, 10, 390, 10], [10, 20, 30, 20]]
    private let folder: TemporaryFolder
    private let current: PlacementPlan

    init() throws {
        folder = try TemporaryFolder()
        current = try #require(
            try StaticAllocator(.expertParallel).allocateExperts(
                current: nil, model: Self.model, cluster: Cluster(worldSize: 2), step: 0))
    }

    private func allocate(
        _ command: [String], timeLimitSeconds: Double = 60, cluster: Cluster = Cluster(worldSize: 2),
        cancellation: PlanningCancellation = PlanningCancellation()
    ) throws -> PlacementPlan? {
        let program = ProgramConfiguration(command: command, timeLimitSeconds: timeLimitSeconds)
        var allocator = try PlanningConfiguration(programs: ["mine": program]).allocator(
            named: "exec:mine", limits: .standard, memoryLimits: nil, cancellation: cancellation)
        allocator.collectPerformance(Samples.sample(loads: Self.loads), rank: 0)
        return try allocator.allocateExperts(current: current, model: Self.model, cluster: cluster, step: 20)
    }

    private func shell(_ script: String) -> [String] { ["/bin/sh", "-c", script] }

    private func failure(_ body: () throws -> PlacementPlan?) -> String {
        do {
            return "it gave \(String(describing: try body()))"
        } catch {
            guard case PlacementError.programFailed(let reason) = error else { return "another error: \(error)" }
            return reason
        }
    }

    @Test func theExampleMovesExpertsOffTheBusyRank() throws {
        let example = Repository.root.appending(path: "examples/least_loaded.py").path
        let plan = try #require(try allocate(["python3", example]))
        let homes = plan.layers.map { $0.experts.map { $0.mesh.ranks } }
        #expect(homes == [[[0], [1], [1], [0]], [[0], [1], [0], [1]]])
    }

    @Test func requestsAndAnswersAreAsTheirSchemasSay() throws {
        let validator = try SchemaValidator()
        let (request, answer) = (folder.path("request"), folder.path("answer"))
        let example = Repository.root.appending(path: "examples/least_loaded.py").path
        var cluster = Cluster(nodes: [0, 1], memoryLimits: [1 << 20, 1 << 20])
        cluster.exchange = ExchangeCosts(latencySeconds: 0.001, bytesPerSecond: 1e9)
        let script = shell("tee '\(request)' | python3 '\(example)' | tee '\(answer)'")
        #expect(try allocate(script, cluster: cluster) != nil)
        for (file, schema) in [(request, "exec_request"), (answer, "exec_answer")] {
            let value = try JSONValue(Data(contentsOf: URL(fileURLWithPath: file)))
            #expect(try validator.problems(of: value, schema: schema) == [])
            var spoilt = value
            spoilt[schema == "exec_request" ? "plan" : "layers"] = 7
            #expect(try !validator.problems(of: spoilt, schema: schema).isEmpty)
        }
        let loads = try JSONValue(Data(contentsOf: URL(fileURLWithPath: request)))["loads"]
        #expect(loads == [[40, 1, 39, 1], [1, 2, 3, 2]])
    }

    @Test func nullKeepsThePlan() throws {
        #expect(try allocate(shell(#"cat >/dev/null; echo '{"layers": null}'"#)) == nil)
    }

    @Test(
        arguments: [
            ("exit 3", "exited with 3"),
            ("echo the matrix is singular >&2; exit 1", "it wrote: the matrix is singular"),
            ("kill -9 $$", "ended by signal 9"), ("true", "wrote nothing"), ("echo no JSON", "exec_answer.json"),
            ("printf '\\377\\376'", "exec_answer.json"), ("echo '[]'", "exec_answer.json"),
            ("echo '{}'", "layers is missing"),
            (#"echo '{"layers": 5}'"#, "layers: "), (#"echo '{"layers": []}'"#, "made for 0 layers, the model has 2"),
            (#"echo '{"layers": [{"experts": [{"width": 16}]}]}'"#, "layers[0].experts[0]: mesh is missing"),
            ("head -c 100000 /dev/zero | tr '\\0' '['", "exec_answer.json"),
            ("cat /dev/zero", "wrote more than 16777216 bytes"),
        ])
    func anAnswerThatIsNoneIsAnError(script: String, reason: String) {
        let error = failure { try allocate(shell(script)) }
        #expect(error.hasPrefix("exec:mine: ") && error.contains(reason), "\(error)")
    }

    @Test(
        arguments: [
            (#"{"data_parallel": 1, "tensor_parallel": 1, "ranks": [2]}"#, "rank 2 is not in a world of 2"),
            (#"{"data_parallel": 1, "tensor_parallel": 1, "ranks": [-1]}"#, "rank -1 is negative"),
            (#"{"data_parallel": 2, "tensor_parallel": 1, "ranks": [1, 1]}"#, "rank 1 stands twice"),
            (#"{"data_parallel": 4611686018427387904, "tensor_parallel": 4, "ranks": []}"#, "needs as many ranks"),
            (#"{"data_parallel": 1, "tensor_parallel": 1, "ranks": [1e300]}"#, "exec_answer.json"),
        ])
    func meshesOutOfRangeAreErrors(mesh: String, reason: String) {
        let expert = #"{"width": 16, "mesh": \#(mesh)}"#
        let layer = "{\"experts\": [\([expert, expert, expert, expert].joined(separator: ", "))]}"
        let error = failure { try allocate(shell("echo '{\"layers\": [\(layer), \(layer)]}'")) }
        #expect(error.contains(reason), "\(error)")
    }

    @Test func aPlanOverARanksMemoryIsAnError() throws {
        let mesh = #"{"data_parallel": 1, "tensor_parallel": 1, "ranks": [1]}"#
        let experts = [String](repeating: #"{"width": 16, "mesh": \#(mesh)}"#, count: 4).joined(separator: ",")
        let layer = #"{"experts": [\#(experts)]}"#
        let bytes = PlanMemory.bytes(current, hiddenSize: 8, ownership: .colocated)
        let cluster = Cluster(nodes: [0, 0], memoryLimits: bytes)
        let script = shell("echo '{\"layers\": [\(layer), \(layer)]}'")
        let error = failure { try allocate(script, cluster: cluster) }
        #expect(error.contains("rank 1 would need") && error.contains("limit of \(bytes[1])"), "\(error)")
    }

    /// What a program is told leaves room for rows and moves, here nothing; what its answer has to keep are the ranks' own limits.
    @Test func anAnswerMayTakeWhatIsLeftFree() throws {
        let mesh = #"{"data_parallel": 1, "tensor_parallel": 1, "ranks": [1]}"#
        let experts = [String](repeating: #"{"width": 16, "mesh": \#(mesh)}"#, count: 4).joined(separator: ",")
        let layer = #"{"experts": [\#(experts)]}"#
        let program = ProgramConfiguration(
            command: shell("echo '{\"layers\": [\(layer), \(layer)]}'"), timeLimitSeconds: 60, hysteresis: false)
        let all = 2 * PlanMemory.bytes(current, hiddenSize: 8, ownership: .colocated)[1]
        for (limit, fits) in [(1 << 20, true), (all - 1, false)] {
            let cluster = Cluster(nodes: [0, 0], memoryLimits: [limit, limit])
            var planner = PlacementPlanner(
                allocator: try PlanningConfiguration(programs: ["mine": program]).allocator(
                    named: "exec:mine", limits: .standard, memoryLimits: cluster.memoryLimits,
                    cancellation: PlanningCancellation()),
                model: Self.model, cluster: cluster, intervalSteps: 1)
            planner.record(Samples.sample(loads: Self.loads), rank: 0)
            do {
                let proposal = try planner.propose(current: current, settings: PlanningSettings(), step: 1)
                #expect(fits && proposal?.plan.layers[0].experts.map(\.mesh.ranks) == [[1], [1], [1], [1]])
            } catch {
                #expect(!fits && "\(error)".contains("over its limit of \(limit)"), "\(error)")
            }
        }
    }

    @Test func aProgramThatIsNotThereIsAnError() {
        let error = failure { try allocate(["/nowhere/policy"]) }
        #expect(error.contains("could not be started: /nowhere/policy: No such file"))
    }

    @Test func theTimeLimitEndsTheProgramAndItsChildren() throws {
        let file = folder.path("child")
        let error = failure {
            try allocate(shell("sleep 1000 & echo $! > '\(file)'; wait"), timeLimitSeconds: 0.5)
        }
        #expect(error.contains("did not end within 0.5 seconds"), "\(error)")
        let child = try #require(
            Int32(String(contentsOfFile: file, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(hasEnded(child))
    }

    @Test func cancellationEndsTheProgram() throws {
        let cancellation = PlanningCancellation()
        let file = folder.path("started")
        let thread = Thread {
            // Whatever happens: the program would be waited for.
            defer { cancellation.cancel() }
            #expect(throws: Never.self) {
                try eventually("the program starts") { FileManager.default.fileExists(atPath: file) }
            }
        }
        thread.start()
        let error = failure { try allocate(shell("touch '\(file)'; sleep 1000"), cancellation: cancellation) }
        #expect(error.contains("the coordinator is ending"), "\(error)")
    }

    @Test func whatAProgramLeavesBehindIsEnded() throws {
        let file = folder.path("child")
        let script = shell(#"sleep 1000 & echo $! > '\#(file)'; echo '{"layers": null}'"#)
        #expect(try allocate(script) == nil)
        let child = try #require(
            Int32(String(contentsOfFile: file, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(hasEnded(child))
    }

    @Test func nothingLeaks() throws {
        func descriptors() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        }
        let before = try descriptors()
        for index in 0..<40 {
            let commands = [shell("exit 1"), shell("exec 0<&- 1>&- 2>&-; exit 0"), ["/nowhere/policy"]]
            _ = failure { try allocate(commands[index % 3]) }
        }
        // Other tests may open some of their own.
        #expect(try descriptors() < before + 40)
        // Of a shell that ended, a zombie would be left.
        let processes = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }
        let zombies = processes.filter { id in
            let status = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)
            return status?.contains("(sh) Z \(getpid()) ") == true
        }
        #expect(zombies == [])
    }

    @Test func programsGetNoDescriptorsAndNoIgnoredSignals() throws {
        let (files, signals) = (folder.path("files"), folder.path("signals"))
        let leak = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/dev/null"))
        defer { try? leak.close() }
        _ = try allocate(
            shell("ls /proc/$$/fd > '\(files)'; grep SigIgn /proc/$$/status > '\(signals)'; echo '{\"layers\": null}'"))
        let open = try String(contentsOfFile: files, encoding: .utf8).split(separator: "\n")
        #expect(open.compactMap { Int($0) }.filter { $0 <= 8 || $0 == Int(leak.fileDescriptor) } == [0, 1, 2])
        let mask = try String(contentsOfFile: signals, encoding: .utf8).split(separator: "\t").last ?? ""
        #expect((UInt64(mask.trimmingCharacters(in: .whitespacesAndNewlines), radix: 16) ?? .max) & (1 << 12) == 0)
    }

    @Test func theFirstPlanIsThatOfExpertParallel() throws {
        var allocator = try PlanningConfiguration(
            programs: ["mine": ProgramConfiguration(command: ["/nowhere/policy"])]
        ).allocator(
            named: "exec:mine", limits: .standard, memoryLimits: nil, cancellation: PlanningCancellation())
        let first = try allocator.allocateExperts(
            current: nil, model: Self.model, cluster: Cluster(worldSize: 2), step: 0)
        #expect(first == current)
        // Without measurements the program is not asked.
        #expect(
            try allocator.allocateExperts(
                current: current, model: Self.model, cluster: Cluster(worldSize: 2), step: 5) == nil)
    }

    @Test func unknownAliasesAreErrors() {
        let configuration = PlanningConfiguration(programs: ["mine": ProgramConfiguration(command: ["x"])])
        let error = #expect(throws: PlacementError.self) {
            try configuration.allocator(
                named: "exec:/bin/sh", limits: .standard, memoryLimits: nil, cancellation: PlanningCancellation())
        }
        #expect("\(String(describing: error))".contains("exec:mine"))
    }

    /// Whether a process is gone or a zombie of init, soon.
    private func hasEnded(_ process: Int32) -> Bool {
        let deadline = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < deadline {
            let path = "/proc/\(process)/stat"
            guard let status = try? String(contentsOfFile: path, encoding: .utf8) else { return true }
            if status.contains(") Z ") { return true }
            sched_yield()
        }
        return false
    }
}
