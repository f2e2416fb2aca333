import Foundation
import TestSupport
import Testing

/// What cannot go on ends the whole job: one message of one rank, the same exit code everywhere, and nobody waits.
@Suite(.serialized) struct WorkerErrorTests {
    private let inputs: WorkerInputs

    init() throws { inputs = try WorkerInputs() }

    /// Runs `moe-worker` on two ranks, and expects it to fail.
    /// - Parameter words: all are in the message.
    private func expectFailure(_ arguments: [String], ranks: Int? = 2, status: Int32, _ words: String...) throws {
        let job = try RunningProgram("moe-worker", arguments, ranks: ranks, timeLimitSeconds: 120)
        #expect(job.waitForEnd() == status, "\(job.text)")
        let messages = job.text.split(separator: "\n").filter { $0.contains("rror:") }
        #expect(messages.count == 1, "\(job.text)")
        for word in words { #expect(messages.first?.contains(word) == true, "\(word) in \(job.text)") }
    }

    @Test(
        arguments: [
            (["--batch-size": "1"], "--batch-size 1"),
            (["--allocator": "best"], "unknown allocator \"best\"; known are tensor-parallel"),
            (["--allocator": "dp=2,tp=2"], "does not fit a world of 2 ranks"),
            (["--dispatcher": "best"], "unknown dispatcher \"best\"; known are random"),
            (["--model": "somewhere"], "either --model DIR"), (["--model-config": nil], "either --model DIR"),
            (["--dp": "3"], "--dp 3 does not divide the number of ranks, 2"),
            (["--dp": "2", "--tp": "2"], "--dp 2 × --tp 2 is a mesh of 4 ranks, but there are 2; use --tp 1"),
            (["--dp": "1", "--tp": "1"], "use --tp 2"), (["--tp": "0"], "--tp must be at least 1, not 0"),
            (["--world-size": "3"], "--world-size is 3"), (["--rank": "0"], "--rank is 0"),
            (["--steps": nil], "--steps"),
        ] as [([String: String?], String)])
    func wrongUsageOnTwoRanks(changes: [String: String?], words: String) throws {
        try expectFailure(inputs.arguments(changes), status: 64, words)
    }

    @Test(
        arguments: [
            (["--sequence-length": "17"], "max_position_embeddings 16"), (["--steps": "many"], "--steps"),
            (["--threads": "0"], "--threads must be at least 1"),
            (["--threads": "1099511627776"], "at most 4096"), (["--coordinator": "here"], "\"here\" is no address"),
            (["--learning-rate-schedule": "steep"], "--learning-rate-schedule"),
            (["--optimizer-placement": "far"], "--optimizer-placement"), (["--dtype": "fp8"], "--dtype"),
            (["--overlap": "everything"], "--overlap"), (["--recompute": "some"], "--recompute"),
            (["--capacity-factor": "0"], "--capacity-factor must be between"),
            (["--epsilon": "0"], "--epsilon must be between 1e-30 and 1.0"),
            (["--drop-policy": "score"], "--drop-policy needs --capacity-factor"),
            (["--capacity-factor": "1", "--drop-policy": "best"], "--drop-policy"),
            (["--format": "json"], "add --dry-run"), (["-o": "table"], "add --dry-run"),
        ] as [([String: String?], String)])
    func wrongUsageAlone(changes: [String: String?], words: String) throws {
        try expectFailure(inputs.arguments(changes), ranks: nil, status: 64, words)
    }

    /// Each rank may have a command line of its own. Rank 0 writes metrics, whatever others are told; what must be alike is compared.
    @Test func ranksThatWereNotStartedAlike() throws {
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let worker = URL(fileURLWithPath: tests).deletingLastPathComponent().appending(path: "moe-worker").path
        func job(_ changes: [String: String?]...) throws -> RunningProgram {
            let ranks = changes.map { ["-n", "1", worker] + inputs.arguments($0) }
            return try RunningProgram(
                command: ["mpirun", "--oversubscribe", "--bind-to", "none", "--timeout", "120"]
                    + ranks.joined(separator: [":"]))
        }
        let trained = try job(["--metrics": inputs.path("metrics.jsonl")], [:])
        #expect(trained.waitForEnd() == 0, "\(trained.text)")
        #expect(inputs.losses("metrics.jsonl").count == 3)
        for (flag, value) in [("--seed", "1"), ("--steps", "4"), ("--evaluation-interval", "1")] {
            let refused = try job([:], [flag: value])
            #expect(refused.waitForEnd() == 64, "\(refused.text)")
            let messages = refused.text.split(separator: "\n").filter { $0.contains("rror:") }
            #expect(
                messages.count == 1 && refused.text.contains("\(flag) is \(value) on rank 1, but "), "\(refused.text)")
        }
    }

    /// `MOE_FORMAT` is for moe-ctl.
    @Test func anotherProgramsFormatDoesNotMatter() throws {
        let job = try RunningProgram("moe-worker", inputs.arguments(), variables: ["MOE_FORMAT": "json"])
        #expect(job.waitForEnd() == 0, "\(job.text)")
    }

    @Test func wrongSettingIsNamedWithItsFile() throws {
        try Data("learning-rat: 1\n".utf8).write(to: inputs.folder.appending(path: "moe.yaml"))
        try expectFailure(
            inputs.arguments(["--config": inputs.path("moe.yaml")]), status: 64, "moe.yaml", "\"learning-rat\"")
    }

    /// Rank 0's machine may have a file without fault.
    @Test(arguments: ["learning-rat: 1\n", "learning-rate: fast\n", "dtype: fp32\n"])
    func whatIsWrongOnAnotherMachineIsSaidThere(file: String) throws {
        try Data(file.utf8).write(to: inputs.folder.appending(path: "moe.yaml"))
        let arguments = inputs.arguments(["--config": inputs.path("moe.yaml"), "--steps": nil])
        let first = ["OMPI_COMM_WORLD_RANK": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "0"]
        let rank = try RunningProgram("moe-worker", arguments, variables: first)
        #expect(rank.waitForEnd() == 64, "\(rank.text)")
        #expect(rank.text.contains("rank 4 on \(ProcessInfo.processInfo.hostName): "), "\(rank.text)")
        #expect(rank.text.contains(file.hasPrefix("dtype") ? "--steps" : "moe.yaml"), "\(rank.text)")
        let second = first.merging(["OMPI_COMM_WORLD_LOCAL_RANK": "1"]) { $1 }
        let other = try RunningProgram("moe-worker", arguments, variables: second)
        #expect(other.waitForEnd() == 64 && other.text.isEmpty, "\(other.text)")
    }

    @Test func launcherIsNeededForMoreThanOneRank() throws {
        try expectFailure(
            inputs.arguments(["--world-size": "2"]), ranks: nil, status: 64, "needs a launcher",
            "mpirun -n 2 moe-worker")
    }

    @Test func bfloat16NeedsALibraryThatHasIt() throws {
        try expectFailure(
            inputs.arguments(["--dtype": "bf16", "--blas": "openblas"]), status: 1, "--dtype bf16", "--blas",
            "use --dtype fp32")
    }

    /// On a processor that has them: oneDNN says whether it makes such products.
    @Test func bfloat16NeedsInstructionsThatOneDNNMayUse() throws {
        let refused = try RunningProgram(
            "moe-worker", inputs.arguments(["--dtype": "bf16"]), variables: ["DNNL_MAX_CPU_ISA": "AVX2"])
        #expect(refused.waitForEnd() == 1, "\(refused.text)")
        let reasons = ["(DNNL_MAX_CPU_ISA); use --dtype fp32", "oneDNN is not installed"]
        #expect(reasons.contains { refused.text.contains($0) }, "\(refused.text)")
    }

    /// Whether the kernel can be asked what a process must not (prctl(2), PR_GET_MDWE).
    private static let canForbidCompiling: Bool = {
        let question = "import ctypes, sys; sys.exit(ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) < 0)"
        return (try? RunningProgram(command: ["python3", "-c", question]).waitForEnd()) == 0
    }()

    /// As under `MemoryDenyWriteExecute=` (prctl(2), PR_SET_MDWE): oneDNN cannot compile, and OpenBLAS makes all products.
    @Test(.enabled(if: canForbidCompiling, "this kernel is older than Linux 6.3"))
    func withoutTheRightToCompile() throws {
        let script = """
            import ctypes, os, sys
            if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0: sys.exit("prctl refused")
            os.execvp(sys.argv[1], sys.argv[1:])
            """
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let worker = URL(fileURLWithPath: tests).deletingLastPathComponent().appending(path: "moe-worker").path
        func run(_ arguments: [String]) throws -> RunningProgram {
            try RunningProgram(command: ["python3", "-c", script, worker] + arguments)
        }
        let trained = try run(inputs.arguments())
        #expect(trained.waitForEnd() == 0 && !trained.text.contains("oneDNN"), "\(trained.text)")
        let refused = try run(inputs.arguments(["--dtype": "bf16"]))
        #expect(refused.waitForEnd() == 1 && refused.text.contains("must not compile here"), "\(refused.text)")
    }

    @Test func missingFiles() throws {
        try expectFailure(inputs.arguments(["--data": "/nonexistent"]), status: 1, "/nonexistent/train.bin")
        try expectFailure(inputs.arguments(["--model-config": "/nonexistent.json"]), status: 1, "/nonexistent.json")
        try expectFailure(
            inputs.arguments(["--model-config": nil, "--model": "/nonexistent"]), status: 1, "/nonexistent")
    }

    @Test func oddTokenFile() throws {
        try Data([1, 0, 2]).write(to: inputs.folder.appending(path: "train.bin"))
        try expectFailure(inputs.arguments(), status: 1, "train.bin has an odd number of bytes (3)")
    }

    @Test func tokenOutsideTheVocabulary() throws {
        try Data([UInt8](repeating: 0, count: 100) + [17, 0]).write(to: inputs.folder.appending(path: "val.bin"))
        try expectFailure(inputs.arguments(), status: 1, "val.bin: token 17 at position 50", "vocabulary of 17")
    }

    /// Who asks for validations gets them, or hears why not; without the question there are none.
    @Test func validationNeedsData() throws {
        let file = inputs.folder.appending(path: "val.bin")
        let asked = inputs.arguments(["--evaluation-interval": "1"])
        try Data(count: 16).write(to: file)
        try expectFailure(asked, status: 1, "val.bin has 8 tokens, but a sequence and its targets need 9")
        try FileManager.default.removeItem(at: file)
        try expectFailure(
            asked, status: 64, "--evaluation-interval 1 needs a validation split", file.path, "--validation-fraction")
        #expect(try RunningProgram("moe-worker", inputs.arguments()).waitForEnd() == 0)
    }

    /// As when another program has written the tokens: the model knows them all.
    @Test func tokenThatMetadataDoesNotKnow() throws {
        let meta = #"{"format": 1, "tokenizer": "characters", "vocabulary_size": 9, "characters": "\nabcdefgh"}"#
        try Data(meta.utf8).write(to: inputs.folder.appending(path: "meta.json"))
        try expectFailure(
            inputs.arguments(), status: 1, "train.bin: token 9 at position 3", "vocabulary of 9 that the meta.json",
            "prepare the data again")
    }

    @Test func unwritableOutput() throws {
        try expectFailure(
            inputs.arguments(["--metrics": "/nonexistent/metrics"]), status: 1,
            "cannot open /nonexistent/metrics: No such file or directory; check --metrics")
        // A file where a directory should be.
        try expectFailure(
            inputs.arguments(["--checkpoint-directory": inputs.path("meta.json")]), status: 1, "meta.json",
            "--checkpoint-directory")
    }

    /// Opens, but takes nothing.
    @Test(.enabled(if: FullDevice.isPossible, "devices can be made by root only"))
    func outputWithoutRoom() throws {
        let device = inputs.path("full")
        FullDevice.make(device)
        try expectFailure(inputs.arguments(["--metrics": device]), status: 1, device)
        #expect(FullDevice.isThere(device))
    }

    @Test func brokenCheckpoint() throws {
        let checkpoint = try inputs.checkpoint()
        let file = URL(fileURLWithPath: checkpoint).appending(path: "model-00002-of-00002.safetensors")
        let data = try Data(contentsOf: file)
        try data.dropLast(5).write(to: file)
        let changes = ["--model-config": nil, "--model": checkpoint]
        try expectFailure(inputs.arguments(changes), status: 1, "model-00002-of-00002.safetensors")
        try expectFailure(["generate", "--model", checkpoint], status: 1, "model-00002-of-00002.safetensors")
    }

    @Test func weightThatIsNotFiniteIsNamed() throws {
        let checkpoint = try inputs.checkpoint()
        try inputs.poison("model.layers.1.block_sparse_moe.experts.3.w1.weight", in: checkpoint, with: .infinity)
        try expectFailure(
            inputs.arguments(["--model-config": nil, "--model": checkpoint, "--allocator": "expert-parallel"]),
            status: 1, "step 1: the loss is not finite; layer 1: ", "experts.3", "on rank 1")
    }

    @Test func divergenceNamesStepLayerAndRank() throws {
        try expectFailure(
            inputs.arguments(["--learning-rate": "1e30"]), status: 1, "step 2: the ", " is not finite; ",
            "layer ", "on rank ")
    }

    @Test func coordinatorThatIsAway() throws {
        // Nothing listens on the discard port of this machine.
        try expectFailure(
            inputs.arguments(["--coordinator": "127.0.0.1:9", "--coordinator-timeout": "0.5"]), status: 69,
            "no coordinator answered at 127.0.0.1:9")
    }
}
