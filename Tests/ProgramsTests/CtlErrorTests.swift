import ControlProtocol
import ExpertPlacement
import Foundation
import Testing

/// Errors go to stderr, with the exit code of their kind; nothing goes to stdout.
@Suite struct CtlErrorTests {
    private func expectFailure(_ call: CtlProgram, status: Int32, _ words: String...) {
        #expect(call.status == status, "\(call.errors)")
        #expect(call.output.isEmpty)
        for word in words { #expect(call.errors.contains(word), "\(call.errors)") }
    }

    @Test(arguments: [
        ["run", "lst"], ["run", "list", "-o", "xml"], ["run", "list", "--coordinator", "nowhere"],
        ["placement", "show", "--layer", "one"], ["placement", "show", "--layer=-1"],
        ["placement", "show", "--revision", "0"], ["placement", "history", "--limit", "0"], ["placement", "diff", "0"],
        ["placement", "diff", "a.json", "b.json"], ["placement", "diff", "1", "2", "--hidden-size", "8"],
        ["placement", "diff", "a.json", "b.json", "--hidden-size", "8", "--run", "x"], ["placement", "apply"],
        ["placement", "apply", "a.json", "--why", ""], ["placement", "rollback", "0"], ["placement", "pin"],
        ["placement", "pin", "3"], ["placement", "pin", "0:2-1"], ["placement", "pin", "0:x"],
        ["placement", "pin", "0:0-9999"], ["placement", "unpin", "1:"],
        ["checkpoint", "list", "x", "--run", "y"],
        ["data", "prepare", "--output", "x", "--tokenizer", "bytes"], ["data", "prepare", "a", "--tokenizer", "bytes"],
        ["data", "prepare", "a", "--output", "x", "--tokenizer", "words"],
        ["data", "prepare", "a", "--output", "x", "--tokenizer", "bpe"],
        ["data", "prepare", "a", "--output", "x", "--tokenizer", "bpe", "--vocabulary-size", "255"],
        ["data", "prepare", "a", "--output", "x", "--tokenizer", "bpe", "--vocabulary-size", "many"],
        [
            "data", "prepare", "a", "--output", "x", "--tokenizer", "bpe", "--vocabulary-size", "300",
            "--minimum-frequency", "0",
        ],
        ["data", "prepare", "a", "--output", "x", "--tokenizer", "bytes", "--vocabulary-size", "300"],
        ["data", "prepare", "a", "--output", "x", "--tokenizer", "./tokenizer.json", "--minimum-frequency", "2"],
        ["data", "prepare", "a", "--output", "x", "--tokenizer", "characters", "--add-special-tokens"],
        ["data", "prepare", "a", "--output", "x", "--tokenizer", "bytes", "--validation-fraction", "1"],
    ])
    func wrongUsage(arguments: [String]) throws {
        expectFailure(try CtlProgram(arguments), status: 64, "Error:")
    }

    @Test func aWrongVariableIsNamed() throws {
        expectFailure(
            try CtlProgram(["run", "list"], environment: ["MOE_COORDINATOR": "x"]), status: 64, "MOE_COORDINATOR")
    }

    @Test func anAbsentCoordinatorIsNamed() throws {
        let coordinator = try CtlStubCoordinator(isAway: true, CtlSamples(now: .now()).answer)
        defer { coordinator.stop() }
        for command in [
            ["run", "list"], ["run", "show"], ["placement", "show"], ["worker", "list"], ["checkpoint", "list"],
            ["placement", "history"],
            ["placement", "diff"], ["placement", "plan"], ["placement", "rollback"], ["placement", "pin", "0:0"],
            ["placement", "freeze"],
        ] {
            expectFailure(
                try CtlProgram(command + ["--coordinator", coordinator.address]), status: 69, coordinator.address,
                "--coordinator")
        }
    }

    /// A run's name, say, in the place of a directory.
    @Test func directoriesWithCheckpointsAreThere() throws {
        expectFailure(try CtlProgram(["checkpoint", "list", "run-20260101-120000"]), status: 1, "there is no", "--run")
    }

    @Test(arguments: [
        ["run", "show", "x"], ["placement", "show", "--run", "x"], ["worker", "list", "--run", "x"],
        ["checkpoint", "list", "--run", "x"],
        ["placement", "history", "--run", "x"], ["placement", "diff", "--run", "x"],
        ["placement", "plan", "--run", "x"],
        ["placement", "rollback", "--run", "x"], ["placement", "unpin", "0:0", "--run", "x"],
        ["placement", "unfreeze", "--run", "x"],
    ])
    func unknownRunsListTheKnown(command: [String]) throws {
        let coordinator = try CtlStubCoordinator(CtlSamples(now: .now()).answer)
        defer { coordinator.stop() }
        expectFailure(
            try CtlProgram(command + ["--coordinator", coordinator.address]), status: 1, "run x is not known",
            "runs are: shakespeare, first-try")
    }

    @Test func unknownLayersAreTheCoordinatorsToTell() throws {
        let coordinator = try CtlStubCoordinator(CtlSamples(now: .now()).answer)
        defer { coordinator.stop() }
        expectFailure(
            try CtlProgram(
                ["placement", "show", "--run", "shakespeare", "--layer", "3", "--coordinator", coordinator.address]),
            status: 1, "layer 3")
    }

    @Test(arguments: [["diff", "9"], ["diff", "1", "9"], ["rollback", "9"], ["show", "--revision", "9"]])
    func unknownRevisionsAreTheCoordinatorsToTell(command: [String]) throws {
        let coordinator = try CtlStubCoordinator(CtlSamples(now: .now()).answer)
        defer { coordinator.stop() }
        expectFailure(
            try CtlProgram(
                ["placement"] + command + ["--run", "shakespeare", "--coordinator", coordinator.address]),
            status: 1, "revision 9")
    }

    /// Nothing before the first.
    @Test(arguments: ["diff", "rollback"])
    func theFirstPlanHasNoneBefore(command: String) throws {
        let samples = CtlSamples(now: .now())
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            guard case .listPlans = request else { return try samples.answer(request) }
            return Plans(run: "shakespeare", frozen: false, pinned: [], plans: [samples.plans[2]], truncated: false)
        }
        defer { coordinator.stop() }
        expectFailure(
            try CtlProgram(["placement", command, "--run", "shakespeare", "--coordinator", coordinator.address]),
            status: 1, "one active plan only")
    }

    @Test(arguments: [ControlError.Code.conflict, .planningFrozen, .unsuitablePlan])
    func refusedProposals(code: ControlError.Code) throws {
        let samples = CtlSamples(now: .now())
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            if case .proposePlacement = request { throw ControlError(code, "not today") }
            return try samples.answer(request)
        }
        defer { coordinator.stop() }
        for command in [["plan"], ["plan", "--dry-run"], ["rollback", "1"]] {
            expectFailure(
                try CtlProgram(
                    ["placement"] + command + ["--run", "shakespeare", "--coordinator", coordinator.address]),
                status: 77, "Error: not today\n")
        }
    }

    /// A plan that was made without saying how wide the experts are.
    @Test(arguments: [
        ([[48, 48, 48, 48]], "--hidden-size 16 and --width 48."),
        ([[48, 48, 48, 49]], "--hidden-size 16 and --current"),
    ])
    func plansForOtherWidths(layer: [[Int]], words: String) throws {
        let samples = CtlSamples(now: .now())
        let plan = try samples.planBefore()
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            if case .proposePlacement = request { throw ControlError(.unsuitablePlan, "widths differ") }
            guard case .showRun = request else { return try samples.answer(request) }
            var shown = samples.shown
            shown.model = ExpertModel(hiddenSize: 16, layers: plan.layers.flatMap { _ in layer })
            return shown
        }
        defer { coordinator.stop() }
        let file = FileManager.default.temporaryDirectory.appending(path: "plan-\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: file) }
        try JSONEncoder().encode(plan).write(to: file)
        expectFailure(
            try CtlProgram([
                "placement", "apply", file.path, "--run", "shakespeare", "--coordinator", coordinator.address,
            ]), status: 77, "Error: widths differ\n", "placement plan --loads", words)
    }

    /// The plan may be on its way when the answer is lost: nobody should propose it again unseen.
    @Test(arguments: [["plan"], ["rollback", "1"]])
    func aLostAnswerToAProposal(command: [String]) throws {
        let samples = CtlSamples(now: .now())
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            if case .proposePlacement = request { throw CtlStubCoordinator.hangUp }
            return try samples.answer(request)
        }
        defer { coordinator.stop() }
        let arguments = ["placement"] + command + ["--run", "shakespeare", "--coordinator", coordinator.address]
        let call = try CtlProgram(arguments)
        expectFailure(call, status: 69, coordinator.address, "not known", "placement history")
        #expect(!call.errors.contains("Is moe-coordinator running there?"))
        // Nothing can have come of a dry run.
        expectFailure(
            try CtlProgram(arguments + ["--dry-run"]), status: 69, "Is moe-coordinator running there?")
    }

    /// Part of the run may be gone when the answer is lost.
    @Test func aLostAnswerToADeletion() throws {
        let samples = CtlSamples(now: .now())
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            if case .deleteRun = request { throw CtlStubCoordinator.hangUp }
            return try samples.answer(request)
        }
        defer { coordinator.stop() }
        let arguments = ["run", "delete", "shakespeare", "--coordinator", coordinator.address]
        let call = try CtlProgram(arguments)
        expectFailure(call, status: 69, coordinator.address, "may go on deleting run shakespeare", "ask again")
        #expect(!call.errors.contains("Is moe-coordinator running there?"))
        expectFailure(
            try CtlProgram(arguments + ["--dry-run"]), status: 69, "Is moe-coordinator running there?")
    }

    /// A run's policy may be a program that takes longer than other answers may.
    @Test func aPlanMayTakeItsTime() throws {
        let samples = CtlSamples(now: .now())
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            if case .proposePlacement = request { Thread.sleep(forTimeInterval: 10.5) }
            return try samples.answer(request)
        }
        defer { coordinator.stop() }
        let call = try CtlProgram(
            ["placement", "plan", "--run", "shakespeare", "--coordinator", coordinator.address])
        #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
    }

    @Test(arguments: [ControlError.Code.unsupportedVersion, .overloaded, ControlError.Code(rawValue: "new_one")])
    func refusals(code: ControlError.Code) throws {
        let coordinator = try CtlStubCoordinator { _ throws(ControlError) in throw ControlError(code, "not today") }
        defer { coordinator.stop() }
        expectFailure(
            try CtlProgram(["run", "list", "--coordinator", coordinator.address]), status: 77, "Error: not today\n")
    }

    /// Without `--run` a note tells which run is meant.
    @Test(arguments: [1, 2], [["run", "show"], ["placement", "show"]])
    func theRunMeantIsNoted(count: Int, command: [String]) throws {
        let samples = CtlSamples(now: .now())
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            if case .listRuns = request { return Runs(runs: Array(samples.runs.prefix(count)), truncated: false) }
            return try samples.answer(request)
        }
        defer { coordinator.stop() }
        let call = try CtlProgram(command + ["--coordinator", coordinator.address])
        #expect(call.status == 0)
        #expect(call.output.contains("shakespeare"))
        #expect(
            call.errors
                == (count == 1
                    ? "Note: shakespeare is the only run.\n" : "Note: shakespeare is the newest of 2 runs.\n"))
    }

    @Test func withoutAnyRunThereIsNothingToShow() throws {
        let coordinator = try CtlStubCoordinator { _ throws(ControlError) in Runs(runs: [], truncated: false) }
        defer { coordinator.stop() }
        expectFailure(
            try CtlProgram(["placement", "show", "--coordinator", coordinator.address]), status: 1,
            "no run is registered")
    }

    @Test func badTextsAreNamed() throws {
        expectFailure(
            try CtlProgram(["data", "prepare", "/nowhere/text", "--output", "/nowhere", "--tokenizer", "bytes"]),
            status: 1, "/nowhere/text", "No such file or directory")
    }
}
