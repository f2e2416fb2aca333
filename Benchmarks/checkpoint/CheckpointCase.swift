import Checkpoints
import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import Mixtral
import Tensors
import WorkerRuntime

/// A model whose checkpoints are written, and a file of as many bytes beside each.
final class CheckpointCase {
    struct BenchmarkError: Error, CustomStringConvertible { let description: String }

    private let directory: String
    private let communicator: any Communicator
    private let model: MixtralModel
    private let optimizer: MoEOptimizer
    private let saver: CheckpointSaver
    private let manifest: CheckpointManifest

    /// - Parameter megabytes: of a checkpoint, about.
    init(directory: String, megabytes: Int, communicator: any Communicator) throws {
        // Of this process alone, so that nothing of an earlier one is in the way.
        self.directory = "\(directory)/benchmark-\(ProcessInfo.processInfo.processIdentifier)"
        if communicator.rank == 0 { try CheckpointDirectory(self.directory).prepare() }
        self.communicator = communicator
        // 8 experts of 3·F·D weights in each of 4 layers are nearly all; each weight has two moments, and 4 bytes.
        let hiddenSize = 512
        let width = max(64, megabytes * 1_000_000 / (12 * 8 * 4 * 3 * hiddenSize))
        let configuration = try MixtralConfiguration(
            vocabularySize: 256, hiddenSize: hiddenSize, intermediateSize: width, layers: 4, heads: 8, experts: 8)
        model = MixtralModel(configuration: configuration)
        let context = ExpertParallelContext(communicator: communicator)
        let plan = try parallelizeExperts(
            in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
            allocator: StaticAllocator(.tensorParallel),
            dispatcher: RandomDispatcher(seed: 1),
            configuration: ParallelConfiguration(layers: 4, expertsPerLayer: .uniform(8), context: context))
        try model.loadWeights(from: RandomWeights(seed: 1, standardDeviation: 0.02))
        optimizer = MoEOptimizer(model: model, context: context)
        saver = try CheckpointSaver(
            CheckpointDirectory(self.directory), run: "benchmark", incarnation: 1, keep: 1, communicator: communicator)
        manifest = CheckpointManifest(
            run: "benchmark", incarnation: 1, step: 0, updates: 0,
            data: CheckpointManifest.Data(seed: 1, order: "random", batchSize: 1, sequenceLength: 1, tokens: 1),
            plan: plan, largestRevision: 0, allocator: "tensor-parallel", ownership: .colocated, createdAt: Date())
    }

    /// Removes what was written. Collective.
    func cleanUp() throws {
        try communicator.barrier()
        if communicator.rank == 0 { try FileManager.default.removeItem(atPath: directory) }
    }

    /// Writes a checkpoint. Collective.
    /// - Returns: bytes, and seconds until all of it was on the disk.
    func writeCheckpoint(step: Int) throws -> (bytes: Int, seconds: Double) {
        try communicator.barrier()
        var manifest = manifest
        manifest.step = step
        let saved = try saver.save(manifest, model: model, optimizer: optimizer)
        return (saved.bytes, saved.seconds)
    }

    /// Writes so many bytes to one file, as one rank does it as fast as it can, and syncs it. Collective.
    /// - Returns: seconds, on rank 0.
    func writeFile(bytes: Int) throws -> Double {
        try communicator.barrier()
        defer { try? communicator.barrier() }
        guard communicator.rank == 0 else { return 0 }
        let path = "\(directory)/sequential"
        defer { unlink(path) }
        let block = [UInt8](unsafeUninitializedCapacity: 8 << 20) { buffer, count in
            // No block that a disk could make less of.
            var generator = SystemRandomNumberGenerator()
            for index in stride(from: 0, to: buffer.count, by: 8) {
                withUnsafeBytes(of: generator.next()) {
                    UnsafeMutableRawBufferPointer(buffer)[index..<index + 8].copyBytes(from: $0)
                }
            }
            count = buffer.count
        }
        let start = ContinuousClock.now
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o666)
        guard descriptor >= 0 else { throw BenchmarkError(description: "\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var rest = bytes
        while rest > 0 {
            let count = write(descriptor, block, min(rest, block.count))
            guard count > 0 else { throw BenchmarkError(description: "\(path): \(String(cString: strerror(errno)))") }
            // As the checkpoint's files: the disk begins at once.
            _ = posix_fadvise(descriptor, off_t(bytes - rest), off_t(count), POSIX_FADV_DONTNEED)
            rest -= count
        }
        guard fsync(descriptor) == 0 else {
            throw BenchmarkError(description: "\(path): \(String(cString: strerror(errno)))")
        }
        return (ContinuousClock.now - start) / .seconds(1)
    }
}
