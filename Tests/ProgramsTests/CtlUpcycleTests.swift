import ControlTestSupport
import Foundation
import Testing

/// `moe-ctl model upcycle`, what transformers makes of its models, and training that begins with one.
@Suite struct CtlUpcycleTests {
    private static let golden = Repository.root.appending(path: "Tests/UpcyclingTests/Golden")
    /// With transformers, from deploy/python.sh.
    private static let python = Repository.root.appending(path: ".venv/bin/python").path
    private let inputs: WorkerInputs

    init() throws { inputs = try WorkerInputs() }

    private func upcycle(_ dense: String, _ arguments: String...) throws -> CtlProgram {
        try CtlProgram(
            ["model", "upcycle", Self.golden.appending(path: dense).path, "--output", inputs.path("mixture")]
                + arguments)
    }

    @Test(arguments: ["llama", "mistral", "qwen2", "qwen3"]) func transformersComputesTheSame(dense: String) throws {
        try #require(FileManager.default.isExecutableFile(atPath: Self.python), "run deploy/python.sh")
        let upcycled = try upcycle(dense, "--experts", "12", "--experts-per-token", "4", "--expert-width", "10")
        #expect(upcycled.status == 0, "\(upcycled.errors)")
        let check = try ShellCommand([
            Self.python, Self.golden.appending(path: "check_upcycled.py").path, Self.golden.appending(path: dense).path,
            inputs.path("mixture"),
        ])
        #expect(check.status == 0, "\(check.output)")
    }

    /// The loss of the first step does not depend on the router, since experts are alike; then they learn.
    @Test func trainingBeginsWithIt() throws {
        var losses = [[Double]]()
        for seed in ["1", "2"] {
            try? FileManager.default.removeItem(atPath: inputs.path("mixture"))
            let upcycled = try upcycle("llama", "--experts", "4", "--experts-per-token", "2", "--seed", seed)
            #expect(upcycled.status == 0, "\(upcycled.errors)")
            let metrics = "metrics-\(seed).jsonl"
            let job = try RunningProgram(
                "moe-worker",
                inputs.arguments([
                    "--model-config": nil, "--model": inputs.path("mixture"), "--metrics": inputs.path(metrics),
                    "--steps": "20", "--learning-rate": "0.01",
                ]), ranks: 2)
            #expect(job.waitForEnd() == 0, "\(job.text)")
            losses.append(inputs.losses(metrics).map(\.loss))
        }
        #expect(losses.allSatisfy { $0.count == 20 })
        #expect(abs(losses[0][0] - losses[1][0]) < 1e-5 * losses[0][0], "\(losses)")
        #expect(losses.allSatisfy { $0[19] < 0.9 * $0[0] }, "\(losses)")
    }

    @Test func noiseAndSeedAreInTheWeights() throws {
        func weights(_ options: [String]) throws -> Data {
            let path = inputs.path("mixture-\(options.joined())")
            let program = try CtlProgram(
                [
                    "model", "upcycle", Self.golden.appending(path: "llama").path, "--output", path, "--experts", "2",
                    "--experts-per-token", "1",
                ] + options)
            #expect(program.status == 0, "\(program.errors)")
            return try Data(contentsOf: URL(fileURLWithPath: "\(path)/model.safetensors"))
        }
        let plain = try weights([])
        #expect(try weights(["--noise", "0", "--seed", "0"]) == plain)
        #expect(try weights(["--noise", "0.1"]) != plain && weights(["--seed", "1"]) != plain)
    }

    @Test(arguments: ["table", "json", "yaml"]) func output(format: String) throws {
        // In the folder, so that no path is printed.
        let program = try CtlProgram(
            [
                "model", "upcycle", Self.golden.appending(path: "llama").path, "--output", "mixture-of-nowhere",
                "--experts", "8", "--experts-per-token", "2", "--dry-run", "-o", format,
            ])
        #expect(program.status == 0 && program.errors.isEmpty, "\(program.errors)")
        try expectGolden(program.output, "output/model-upcycle-dry-run.\(format == "table" ? "txt" : format)")
        #expect(!FileManager.default.fileExists(atPath: "mixture-of-nowhere"))
    }

    @Test func refusalsAreOneLineAndLeaveNothing() throws {
        func expectRefusal(_ program: CtlProgram, status: Int32, _ words: String) {
            #expect(program.status == status && program.output.isEmpty, "\(program.errors)")
            #expect(program.errors.contains(words), "\(program.errors)")
            let isOneLine = program.errors.hasPrefix("Error: ") && program.errors.split(separator: "\n").count == 1
            #expect(isOneLine || status == 64, "\(program.errors)")
        }
        let numbers = ["--experts", "4", "--experts-per-token", "2"]
        expectRefusal(
            try upcycle("llama", "--experts", "2", "--experts-per-token", "3"), status: 64, "at most 2 experts a token")
        expectRefusal(
            try CtlProgram(
                ["model", "upcycle", inputs.folder.path, "--output", inputs.path("mixture")] + numbers),
            status: 1, "model_type is \"mixtral\"")
        expectRefusal(
            try CtlProgram(
                ["model", "upcycle", inputs.path("nowhere"), "--output", inputs.path("mixture")] + numbers),
            status: 1, "config.json: cannot be read")
        expectRefusal(
            try CtlProgram(
                [
                    "model", "upcycle", Self.golden.appending(path: "llama").path, "--output", inputs.folder.path,
                    "--dry-run",
                ] + numbers), status: 1, "is there already")
        let before = try FileManager.default.contentsOfDirectory(atPath: inputs.folder.path).sorted()
        #expect(before == ["config.json", "meta.json", "train.bin", "val.bin"])
    }
}
