import Checkpoints
import ExpertParallelism
import Foundation
import Layers
import MessagePassing
import Mixtral
import Tensors

/// Writes checkpoints, all ranks together: each its part of the weights, and what it owns of the moments.
package final class CheckpointSaver {
    /// What was saved.
    package struct Saved {
        package let path: String
        package let step: Int
        package let bytes: Int
        package let seconds: Double
    }

    private let claim: CheckpointClaim
    private let keep: Int
    private let tokenizer: [String: Data]
    private let communicator: any Communicator
    private var isRoot: Bool { communicator.rank == 0 }

    /// Takes the directory from incarnations before. Collective.
    /// - Parameters:
    ///   - run: with `incarnation`, who writes; rank 0's count.
    ///   - keep: how many of the newest checkpoints stay; 0: all.
    ///   - resumed: the step of the checkpoint that the run goes on from; nil: it begins.
    ///   - tokenizer: its files by their names.
    /// - Throws: `JobFailure` with the code `stopped` when the incarnation before has written a newer checkpoint since.
    package init(
        _ directory: CheckpointDirectory, run: String, incarnation: Int, keep: Int, resumed: Int? = nil,
        tokenizer: [String: Data] = [:], communicator: any Communicator
    ) throws {
        let message = try communicator.agree { () -> [UInt8] in
            guard communicator.rank == 0 else { return [] }
            let claim = try CheckpointClaim.take(directory, run: run, incarnation: incarnation)
            // From here on nobody else writes.
            let newest = try directory.steps().last
            guard newest == resumed else {
                let path = newest.map(directory.path(ofStep:)) ?? "nothing"
                throw WorkerError(
                    .stopped,
                    "while this job started, the one before it went on: the newest checkpoint is \(path) now; start again "
                        + "to go on from it")
            }
            return try Array(JSONEncoder().encode(claim))
        }
        let bytes = try communicator.broadcast(message, root: 0)
        claim = try communicator.agree { try JSONDecoder().decode(CheckpointClaim.self, from: Data(bytes)) }
        self.keep = keep
        self.tokenizer = tokenizer
        self.communicator = communicator
    }

    /// Saves the state after `manifest.step` steps. Collective.
    /// - Parameters:
    ///   - manifest: but for the files; rank 0's counts.
    ///   - retires: whether older checkpoints may go.
    /// - Throws: `JobFailure` when a rank cannot write, or another incarnation has taken the directory; the last checkpoint
    ///   stays as it is then.
    package func save(
        _ manifest: CheckpointManifest, model: MixtralModel, optimizer: MoEOptimizer, retires: Bool = true
    ) throws -> Saved {
        let clock = ContinuousClock()
        let start = clock.now
        var manifest = manifest
        do {
            try agree { if isRoot { try claim.begin(step: manifest.step) } }
            let directory = claim.partialPath(ofStep: manifest.step)
            let distribution = WeightDistribution(model, worldSize: communicator.size)
            manifest.files = try write(distribution, optimizer, to: directory)
            var path = ""
            try agree {
                guard isRoot else { return }
                manifest.files += try writeSmallFiles(distribution, model.configuration, to: directory)
                path = try claim.commit(manifest, keep: retires ? keep : 0)
            }
            return Saved(
                path: path, step: manifest.step, bytes: manifest.bytes, seconds: (clock.now - start) / .seconds(1))
        } catch {
            if isRoot { claim.abandon(step: manifest.step) }
            throw error
        }
    }

    /// As `Communicator.agree`. When another incarnation has taken the directory, what failed failed for that reason: it clears
    /// away what it finds.
    private func agree<Result>(_ body: () throws -> Result) throws -> Result {
        try communicator.agree {
            do {
                return try body()
            } catch {
                do throws(CheckpointError) {
                    try claim.check()
                } catch let fence where fence.code == .superseded {
                    throw fence
                } catch {}
                throw error
            }
        }
    }

    /// Weights and moments.
    /// - Returns: all ranks' files.
    private func write(
        _ distribution: WeightDistribution, _ optimizer: MoEOptimizer, to directory: String
    ) throws -> [CheckpointFile] {
        let (rank, writers) = (communicator.rank, distribution.writers)
        let weights = try agree {
            try writers.firstIndex(of: rank).map { part in
                try CheckpointWeights(
                    directory: directory, part: part, of: writers.count, weights: distribution.weights(of: rank))
            }
        }
        let sink: any WeightSink = if let weights { weights } else { Discard() }
        // Moments are this rank's alone: another thread hashes and writes them, while weights come together from all ranks.
        let (state, worldSize) = (optimizer.ownedState, communicator.size)
        let moments = ConcurrentCall {
            try OptimizerStateFile.write(state, directory: directory, rank: rank, worldSize: worldSize)
        }
        defer { _ = moments.result }
        // Collective: a rank that cannot write takes part to the end.
        var failure: (any Error)?
        do {
            try distribution.store(to: sink, communicator: communicator)
        } catch let error as CommunicatorError {
            // The others are not at its end, and would wait for ever for a rank that goes on from there.
            throw error
        } catch {
            failure = error
        }
        let own = try agree { () -> [UInt8] in
            if let failure { throw failure }
            var files = try weights.map { [try $0.finish()] } ?? []
            files.append(try moments.result.get())
            return try Array(JSONEncoder().encode(files))
        }
        let all = try communicator.allGatherBlocks(own)
        return try agree { try all.flatMap { try JSONDecoder().decode([CheckpointFile].self, from: Data($0)) } }
    }

    /// What rank 0 alone writes, besides the manifest.
    private func writeSmallFiles(
        _ distribution: WeightDistribution, _ configuration: MixtralConfiguration, to directory: String
    ) throws -> [CheckpointFile] {
        var files = try CheckpointWeights.writeIndex(
            directory: directory, weights: distribution.writers.map(distribution.weights(of:)))
        files.append(try HashedFile.write(configuration.json(), directory: directory, name: "config.json"))
        for (name, contents) in tokenizer.sorted(by: { $0.key < $1.key }) {
            files.append(try HashedFile.write(contents, directory: directory, name: name))
        }
        return files
    }

    /// For a rank that gets no weights.
    private struct Discard: WeightSink {
        func store(_ name: String, shape: [Int], _ values: Tensor) {}
    }
}
