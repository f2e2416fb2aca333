import ControlProtocol
import ExpertPlacement
import Foundation
import Testing

/// An operator's plans from proposal to rollback: `moe-ctl` and the real coordinator, the test in the place of rank 0.
@Suite struct CtlPlanLifeTests {
    private struct Setting {
        let directory: URL
        let coordinator: RunningProgram
        let client: ControlClient
        let registered: RunRegistered

        /// - Parameter configuration: of the coordinator, in YAML.
        init(
            allocator: String = "expert-parallel",
            model: ExpertModel = ExpertModel(hiddenSize: 8, layers: [[4, 4], [4, 4]]),
            exchange: ExchangeCosts? = nil, configuration: String = ""
        ) async throws {
            directory = FileManager.default.temporaryDirectory.appendingPathComponent("life-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let database = directory.appendingPathComponent("moe.db").path
            let file = directory.appendingPathComponent("moe.yaml")
            try Data(configuration.utf8).write(to: file)
            coordinator = try RunningProgram(
                "moe-coordinator",
                ["serve", "--database", database, "--listen", "127.0.0.1:0", "--config", file.path])
            let address = try #require(
                coordinator.readLine(after: "moe-coordinator: listening on "), "\(coordinator.text)")
            client = try await ControlClient.connect(to: Endpoint(address))
            registered = try await client.send(
                RegisterRun(
                    run: "tiny", registration: "r1", worldSize: 2, nodes: [0, 0], model: model,
                    allocator: allocator, host: "here", processID: 1, exchange: exchange,
                    ownership: .decoupled, interval: 10))
        }

        func end() {
            client.close()
            coordinator.terminate()
            try? FileManager.default.removeItem(at: directory)
        }

        func call(_ arguments: String...) throws -> CtlProgram {
            try CtlProgram(
                ["placement"] + arguments + ["--run", "tiny"],
                environment: ["MOE_COORDINATOR": "\(client.endpoint)"])
        }

        /// The answer as JSON.
        func ask<Reply: Decodable>(_ type: Reply.Type, _ arguments: String...) throws -> Reply {
            let call = try CtlProgram(
                ["placement"] + arguments + ["--run", "tiny", "-o", "json"],
                environment: ["MOE_COORDINATOR": "\(client.endpoint)"])
            #expect(call.status == 0, "\(call.errors)")
            return try JSONDecoder().decode(type, from: Data(call.output.utf8))
        }

        /// A file with a plan for the run.
        func plan(_ allocator: String) throws -> String {
            let file = directory.appendingPathComponent("\(allocator).json")
            let loads = directory.appendingPathComponent("loads.json")
            try Data("[[3, 1], [1, 3]]".utf8).write(to: loads)
            let call = try CtlProgram([
                "placement", "plan", "--loads", loads.path, "--ranks", "2", "--width", "4", "--hidden-size", "8",
                "--allocator", allocator, "-o", "json",
            ])
            #expect(call.status == 0, "\(call.errors)")
            try Data(call.output.utf8).write(to: file)
            return file.path
        }

        /// What a rank says of its first ten steps: time goes with the rows of the expert that it has in each layer.
        func report(rank: Int, loads: [[Int]]) async throws {
            let rows = loads.reduce(0) { $0 + $1[rank] }
            _ = try await client.send(
                RegisterWorker(
                    run: "tiny", incarnation: registered.incarnation, rank: rank, host: "here", processID: 1))
            let sample = PerformanceSample(
                firstStep: 1, stepCount: 10, planRevision: registered.plan.revision, stepSeconds: 2,
                phaseSeconds: ["experts": 1e-4 * Double(rows), "dispatch": 1e-4, "combine": 1e-4], bytesSent: 0,
                tokens: 1000, residentBytes: 0, expertLoads: rank == 0 ? loads : nil, loss: nil, expertRows: rows,
                expertWork: 64 * rows)
            _ = try await client.send(
                Report(run: "tiny", incarnation: registered.incarnation, rank: rank, sequence: 1, sample: sample))
        }

        /// The ranks take the plan that is offered, at `step`.
        func apply(step: Int, after revision: Int) async throws -> PlacementPlan {
            let incarnation = registered.incarnation
            let plan = try #require(
                await client.send(PollPlan(run: "tiny", incarnation: incarnation, revision: revision)).plan)
            _ = try await client.send(
                PlanProgress(
                    run: "tiny", incarnation: incarnation, revision: plan.revision, transition: .accepted, step: step))
            _ = try await client.send(
                PlanProgress(
                    run: "tiny", incarnation: incarnation, revision: plan.revision, transition: .applied, step: step,
                    switched: [LayerSwitch(layer: 0, step: step), LayerSwitch(layer: 1, step: step)], bytes: 384,
                    seconds: 0.002, verifySeconds: 0.0005))
            return plan
        }
    }

    @Test func fromProposalToRollback() async throws {
        let setting = try await Setting()
        defer { setting.end() }
        let first = setting.registered.plan.revision
        let file = try setting.plan("tensor-parallel")

        let predicted = try setting.ask(PlacementProposed.self, "apply", file, "--dry-run")
        #expect(predicted.revision == nil)
        let migration = try Migration(
            from: setting.registered.plan, to: #require(predicted.plan), ownership: .decoupled)
        #expect(predicted.prediction?.bytes == migration.bytes(hiddenSize: 8))
        #expect(try setting.ask(Plans.self, "history").plans.map(\.state) == [.active])

        let proposed = try setting.ask(PlacementProposed.self, "apply", file, "--why", "a drill")
        let second = try #require(proposed.revision)
        let conflict = try setting.call("apply", file)
        #expect(conflict.status == 77 && conflict.output.isEmpty, "\(conflict.errors)")
        let plan = try await setting.apply(step: 7, after: first)
        #expect(plan.revision == second)

        let history = try setting.ask(Plans.self, "history").plans
        #expect(history.map(\.state) == [.active, .superseded])
        #expect(history[0].why == "a drill" && history[0].acceptedStep == 7 && history[0].bytes == 384)
        let difference = try setting.call("diff")
        #expect(difference.output.contains("From:            revision \(first)"), "\(difference.output)")
        #expect(difference.output.contains("4 of 4 experts"), "\(difference.output)")

        let back = try setting.ask(PlacementProposed.self, "rollback")
        #expect(back.plan?.layers.map(\.experts) == setting.registered.plan.layers.map(\.experts))
        _ = try await setting.apply(step: 9, after: second)
        let states = try setting.ask(Plans.self, "history").plans.map(\.state)
        #expect(states == [.active, .superseded, .superseded])
    }

    /// The planner looks when it is asked, and its plan takes the way of all plans.
    @Test func thePlannersPlanOnDemand() async throws {
        let setting = try await Setting(
            allocator: "load-balanced", model: ExpertModel(hiddenSize: 64, layers: [[64, 64], [64, 64]]),
            exchange: ExchangeCosts(latencySeconds: 1e-6, bytesPerSecond: 1e12),
            configuration: "planning: {enabled: false}")
        defer { setting.end() }
        let first = setting.registered.plan.revision
        #expect(try setting.ask(PlacementProposed.self, "plan").plan == nil)
        for rank in [1, 0] { try await setting.report(rank: rank, loads: [[9000, 1000], [8000, 2000]]) }

        let shown = try setting.ask(PlacementProposed.self, "plan", "--dry-run")
        #expect(shown.revision == nil && shown.plan != nil)
        #expect(try setting.ask(Plans.self, "history").plans.map(\.state) == [.active])
        let proposed = try setting.ask(PlacementProposed.self, "plan", "--why", "it looks skewed")
        let prediction = try #require(proposed.prediction)
        #expect(prediction.balanceAfter > prediction.balanceBefore && prediction == shown.prediction)
        #expect(proposed.plan?.layers.map(\.experts) == shown.plan?.layers.map(\.experts))
        #expect(try setting.ask(Plans.self, "history").plans.map(\.state) == [.proposed, .active])

        let plan = try await setting.apply(step: 21, after: first)
        #expect(plan.revision == proposed.revision)
        let history = try setting.ask(Plans.self, "history").plans
        #expect(history.map(\.state) == [.active, .superseded])
        #expect(history[0].why.hasPrefix("it looks skewed; ") && history[0].prediction == prediction)
    }

    @Test func operatorsHoldThePlanner() async throws {
        let setting = try await Setting()
        defer { setting.end() }
        let pinned = try setting.ask(PlanningState.self, "pin", "0-1:1", "0:0")
        let all = [(0, 0), (0, 1), (1, 1)].map { ExpertID(layer: $0, expert: $1) }
        #expect(pinned.pinned == all)
        #expect(try setting.ask(PlanningState.self, "unpin", "0:0-1", "--dry-run").pinned == [all[2]])
        #expect(try setting.ask(Plans.self, "history").pinned == all)
        #expect(try setting.ask(PlanningState.self, "unpin", "0:0-1").pinned == [all[2]])

        // Freezing takes back what is proposed.
        let file = try setting.plan("replicated")
        let proposed = try setting.ask(PlacementProposed.self, "apply", file)
        let frozen = try setting.ask(PlanningState.self, "freeze", "--why", "a demonstration")
        #expect(frozen.frozen && frozen.withdrawnRevision == proposed.revision)
        #expect(try setting.ask(Plans.self, "history").plans.map(\.state) == [.withdrawn, .active])
        let refused = try setting.call("plan")
        #expect(refused.status == 77 && refused.output.isEmpty, "\(refused.errors)")
        // Operators' own plans stay possible.
        #expect(try setting.ask(PlacementProposed.self, "apply", file).revision != nil)
        #expect(try setting.ask(PlanningState.self, "unfreeze").frozen == false)

        let unknown = try setting.call("pin", "5:0")
        #expect(unknown.status != 0 && unknown.errors.contains("layer"), "\(unknown.errors)")
    }

    @Test func plansThatDoNotFitAreRefused() async throws {
        let setting = try await Setting()
        defer { setting.end() }
        let loads = setting.directory.appendingPathComponent("other.json")
        try Data("[[3, 1, 2]]".utf8).write(to: loads)
        let plan = try CtlProgram(
            [
                "placement", "plan", "--loads", loads.path, "--ranks", "2", "--width", "4", "--hidden-size", "8", "-o",
                "yaml",
            ])
        let file = setting.directory.appendingPathComponent("other.yaml")
        try Data(plan.output.utf8).write(to: file)
        for options in [[], ["--dry-run"]] {
            let refused = try CtlProgram(
                ["placement", "apply", file.path, "--run", "tiny"] + options,
                environment: ["MOE_COORDINATOR": "\(setting.client.endpoint)"])
            #expect(refused.status == 77 && refused.errors.contains("layers"), "\(refused.errors)")
        }
        #expect(try setting.ask(Plans.self, "history").plans.map(\.state) == [.active])
    }
}
