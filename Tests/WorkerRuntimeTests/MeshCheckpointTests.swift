import Checkpoints
import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import Mixtral
import Tensors
import Testing
import WorkerRuntime

/// Checkpoints do not depend on the mesh of ranks that wrote them.
@Suite struct MeshCheckpointTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    private struct Mesh: Sendable, CustomStringConvertible {
        var data: Int
        var tensor: Int
        var description: String { "\(data) × \(tensor)" }
    }
    /// What all tokens go through is attention alone, or also a dense layer and a shared expert.
    private enum Networks: CaseIterable, Sendable {
        case none, denseAndShared

        func configuration() throws -> MixtralConfiguration {
            if self == .none { return try TrainingFixture.configuration(layers: 2) }
            return try MixtralConfiguration(
                modelType: .qwen2MoE, vocabularySize: TrainingFixture.vocabularySize, hiddenSize: 16,
                intermediateSize: 12, layers: 2, heads: 4, keyValueHeads: 2, experts: 4, expertsPerToken: 2,
                denseLayers: [0], denseWidth: 10, sharedExpertWidth: 3, maximumPositions: 16, initializerRange: 0.2)
        }
    }
    private static let meshes = [
        Mesh(data: 2, tensor: 1), Mesh(data: 1, tensor: 2), Mesh(data: 2, tensor: 2), Mesh(data: 1, tensor: 3),
        Mesh(data: 1, tensor: 4), Mesh(data: 1, tensor: 1),
    ]

    /// All weights and moments of a checkpoint.
    private func tensors(_ path: String, _ networks: Networks) throws -> [String: [Float]] {
        let model = MixtralModel(configuration: try networks.configuration())
        try model.loadWeights(from: MixtralCheckpoint(directory: path).weights)
        var tensors = Dictionary(
            uniqueKeysWithValues: model.namedParameters().map { ($0.name, $0.parameter.value.array) })
        let state = try OptimizerState(Checkpoint(path: path))
        for (name, parameter) in model.namedParameters() where !name.contains("experts") {
            for moment in ["exp_avg", "exp_avg_sq"] {
                let values = Tensor(rows: parameter.count, columns: 1)
                try state.load(
                    TensorShard(
                        name: "\(name).\(moment)", rows: 0..<parameter.count, totalRows: parameter.count, values: values
                    ))
                tensors["\(name).\(moment)"] = values.array
            }
        }
        return tensors
    }

    /// Reads a checkpoint on other ranks, and writes what they hold.
    private func copy(_ path: String, to directory: String, _ mesh: Mesh, _ networks: Networks) throws {
        let worldSize = mesh.data * mesh.tensor
        _ = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
            let checkpoint = try Checkpoint(path: path)
            var manifest = checkpoint.manifest
            let configuration = try networks.configuration()
            let model = MixtralModel(configuration: configuration)
            let context = ExpertParallelContext(communicator: communicator)
            try parallelizeDense(
                in: model, mesh: DenseMesh(dataParallel: mesh.data, tensorParallel: mesh.tensor), context: context)
            manifest.plan = try parallelizeExperts(
                in: model, matching: #".*\.experts"#, allocator: StaticAllocator(.tensorParallel),
                dispatcher: RandomDispatcher(seed: 1),
                configuration: ParallelConfiguration(
                    layers: configuration.sparseLayers.count, expertsPerLayer: .uniform(4), context: context))
            try model.loadWeights(from: MixtralCheckpoint(directory: path).weights)
            let optimizer = MoEOptimizer(model: model, context: context, ownership: manifest.ownership)
            let state = try OptimizerState(checkpoint)
            for shard in optimizer.ownedState { try state.load(shard) }
            manifest.files = []
            let saver = try CheckpointSaver(
                CheckpointDirectory(directory), run: manifest.run, incarnation: 1, keep: 0, communicator: communicator)
            _ = try saver.save(manifest, model: model, optimizer: optimizer)
        }
    }

    /// From one mesh to all others and so on: no bit of any weight or moment changes.
    @Test(arguments: Networks.allCases) private func everyMeshHoldsTheSameBits(networks: Networks) throws {
        try networks.configuration().json().write(to: fixture.folder.appending(path: "config.json"))
        let directory = fixture.path("checkpoints")
        _ = try fixture.train(worldSize: 2, steps: 5) {
            $0.checkpointDirectory = directory
            $0.dataParallel = 2
            $0.tensorParallel = 1
        }
        var path = "\(directory)/step-5"
        let expected = try tensors(path, networks)
        let cut = networks == .none ? ["self_attn.o_proj"] : ["self_attn.o_proj", "mlp.down_proj", "mlp.gate_proj"]
        for name in cut {
            #expect(expected["model.layers.0.\(name).weight.exp_avg"]?.contains { $0 != 0 } == true)
        }
        for mesh in Self.meshes.dropFirst() + [Self.meshes[0], Self.meshes[4]] {
            let next = fixture.path(UUID().uuidString)
            try FileManager.default.createDirectory(atPath: next, withIntermediateDirectories: false)
            try copy(path, to: next, mesh, networks)
            path = "\(next)/step-5"
            try Checkpoint(path: path).verify()
            #expect(try tensors(path, networks) == expected, "\(mesh)")
        }
    }

    /// From each mesh to each: the run is the same. On the same mesh no bit differs.
    @Test(arguments: meshes, Networks.allCases)
    private func runsGoOnOnOtherMeshes(mesh: Mesh, networks: Networks) throws {
        try networks.configuration().json().write(to: fixture.folder.appending(path: "config.json"))
        let directory = fixture.path("checkpoints")
        func train(_ mesh: Mesh, directory: String) throws -> [StepMetrics] {
            try fixture.train(worldSize: mesh.data * mesh.tensor) {
                $0.checkpointDirectory = directory
                $0.checkpointInterval = 5
                $0.dataParallel = mesh.data
                $0.tensorParallel = mesh.tensor
            }
        }
        let whole = try train(mesh, directory: directory)
        for other in Self.meshes {
            let copy = fixture.path("copy-\(UUID().uuidString)")
            try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: false)
            try FileManager.default.copyItem(atPath: "\(directory)/step-5", toPath: "\(copy)/step-5")
            let rest = try train(other, directory: copy)
            #expect(rest.map(\.step) == Array(6...12))
            if (other.data, other.tensor) == (mesh.data, mesh.tensor) {
                #expect(rest.map(\.loss) == whole.suffix(7).map(\.loss))
            }
            for (line, expected) in zip(rest, whole.suffix(7)) {
                #expect(abs(line.loss - expected.loss) < 1e-4, "from \(mesh) to \(other): step \(line.step)")
            }
        }
    }
}
