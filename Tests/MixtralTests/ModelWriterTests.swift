import Foundation
import Layers
import Mixtral
import Safetensors
import Tensors
import Testing

@Suite struct ModelWriterTests {
    private func writer(_ directory: URL, step: Int, of model: MixtralModel, files: [String] = []) -> ModelWriter {
        ModelWriter(
            directory: directory.path, step: step, configuration: model.configuration,
            weights: model.namedWeights(), additionalFiles: files)
    }

    private func write(_ model: MixtralModel, to directory: URL, step: Int, files: [String] = []) throws -> String {
        let writer = writer(directory, step: step, of: model, files: files)
        try writer.begin()
        try model.storeWeights(to: writer)
        return try writer.finish()
    }

    private func contents(of directory: URL) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
    }

    @Test(arguments: ["base", "top-1", "top-3"])
    func aCheckpointHoldsWhatWasWritten(name: String) throws {
        try withTemporaryDirectory { directory in
            let model = try GoldenValues.model(name)
            let meta = directory.appending(path: "meta.json")
            try Data("{}".utf8).write(to: meta)
            // Two directories deep, neither of which is there yet.
            let runs = directory.appending(path: "runs/first")
            let path = try write(model, to: runs, step: 7, files: [meta.path])
            #expect(path == runs.appending(path: "step-7").path)
            #expect(try contents(of: runs) == [".lock", "step-7"])
            #expect(try contents(of: URL(fileURLWithPath: path)) == ["config.json", "meta.json", "model.safetensors"])

            let checkpoint = try MixtralCheckpoint(directory: path)
            #expect(checkpoint.configuration == model.configuration)
            let copy = MixtralModel(configuration: checkpoint.configuration)
            try copy.loadWeights(from: checkpoint.weights)
            for (a, b) in zip(model.namedParameters(), copy.namedParameters()) {
                #expect(a.name == b.name && a.parameter.value.array == b.parameter.value.array, "\(a.name)")
            }
            // For a check with transformers: see Golden/README.md.
            if let output = ProcessInfo.processInfo.environment["MODEL_WRITER_TEST_OUTPUT"], name == "base" {
                _ = try write(model, to: URL(fileURLWithPath: output), step: 1)
            }
        }
    }

    @Test func anOlderCheckpointIsReplaced() throws {
        try withTemporaryDirectory { directory in
            let (first, second) = (try GoldenValues.model("base"), try GoldenValues.model("top-3"))
            _ = try write(first, to: directory, step: 1)
            let path = try write(second, to: directory, step: 1)
            #expect(try MixtralCheckpoint(directory: path).configuration == second.configuration)
            #expect(try contents(of: directory) == [".lock", "step-1"])
        }
    }

    @Test func whatACrashLeftIsClearedAwayOrPutBack() throws {
        try withTemporaryDirectory { directory in
            let manager = FileManager.default
            let model = try GoldenValues.model("base")
            let path = try write(model, to: directory, step: 1)
            // A crash between the two renames of a replacement, and one in the middle of writing.
            try manager.moveItem(atPath: path, toPath: directory.appending(path: ".step-1.replaced").path)
            let partial = directory.appending(path: ".step-2.partial")
            try manager.createDirectory(at: partial, withIntermediateDirectories: false)
            try Data("half".utf8).write(to: partial.appending(path: "model.safetensors"))
            _ = try write(model, to: directory, step: 3)
            #expect(try contents(of: directory) == [".lock", "step-1", "step-3"])
            _ = try MixtralCheckpoint(directory: path)
            // A crash after them: the old one has had its day.
            try manager.copyItem(atPath: path, toPath: directory.appending(path: ".step-1.replaced").path)
            _ = try write(model, to: directory, step: 3)
            #expect(try contents(of: directory) == [".lock", "step-1", "step-3"])
        }
    }

    /// `store` keeps its error to itself, so that a collective `storeWeights` comes to its end on all ranks.
    @Test func anErrorAppearsAtTheEndAndLeavesNothing() throws {
        try withTemporaryDirectory { directory in
            let (model, other) = (try GoldenValues.model("base"), try GoldenValues.model("top-3"))
            _ = try write(model, to: directory, step: 1)
            let wrong = writer(directory, step: 1, of: model)
            try wrong.begin()
            try other.storeWeights(to: wrong)
            let error = #expect(throws: SafetensorsError.self) { try wrong.finish() }
            #expect(error?.tensor == "model.embed_tokens.weight")

            let unfinished = writer(directory, step: 1, of: model)
            try unfinished.begin()
            #expect(throws: SafetensorsError.self) { try unfinished.finish() }

            #expect(try contents(of: directory) == [".lock", "step-1"])
            let kept = try MixtralCheckpoint(directory: directory.appending(path: "step-1").path)
            #expect(kept.configuration == model.configuration)
        }
    }

    @Test func twoWritersDoNotMeet() throws {
        try withTemporaryDirectory { directory in
            let model = try GoldenValues.model("base")
            var first: ModelWriter? = writer(directory, step: 1, of: model)
            try first?.begin()
            let second = writer(directory, step: 1, of: model)
            let error = #expect(throws: ModelWriterError.self) { try second.begin() }
            #expect(error?.description.contains("another process") == true)
            // One that is dropped half-way gives the lock back and removes what it wrote.
            first = nil
            #expect(try contents(of: directory) == [".lock"])
            _ = try write(model, to: directory, step: 1)
        }
    }

    @Test func refusesToReplaceWhatIsNoCheckpoint() throws {
        try withTemporaryDirectory { directory in
            let model = try GoldenValues.model("base")
            let target = directory.appending(path: "step-1")
            try FileManager.default.createDirectory(at: target, withIntermediateDirectories: false)
            try Data("mine".utf8).write(to: target.appending(path: "notes.txt"))
            let error = #expect(throws: ModelWriterError.self) { try write(model, to: directory, step: 1) }
            #expect(error?.path == target.path)
            #expect(try contents(of: directory) == [".lock", "step-1"])
            #expect(throws: ModelWriterError.self) {
                try write(model, to: URL(fileURLWithPath: "/proc/no-such-directory"), step: 1)
            }
            #expect(throws: ModelWriterError.self) {
                try write(model, to: directory, step: 2, files: ["/absent/meta.json"])
            }
            #expect(try contents(of: directory) == [".lock", "step-1"])
        }
    }
}
