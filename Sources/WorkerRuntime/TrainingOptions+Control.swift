import ControlProtocol
import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import Tensors

extension TrainingOptions {
    /// The mesh of what all tokens go through, on `worldSize` ranks.
    /// - Throws: `WorkerError` that names the flags and what they can be.
    func mesh(worldSize: Int) throws(WorkerError) -> DenseMesh {
        for (flag, value) in [("dp", dataParallel), ("tp", tensorParallel)] {
            guard let value else { continue }
            guard value >= 1 else { throw .usage("--\(flag) must be at least 1, not \(value)") }
            guard worldSize % value == 0 else {
                let divisors = (1...worldSize).filter { worldSize % $0 == 0 }.map { "\($0)" }.joined(separator: ", ")
                throw .usage(
                    "--\(flag) \(value) does not divide the number of ranks, \(worldSize); start another number of ranks, or use "
                        + "one of \(divisors)")
            }
        }
        let tensor = tensorParallel ?? worldSize / (dataParallel ?? worldSize)
        let data = dataParallel ?? worldSize / tensor
        guard data * tensor == worldSize else {
            throw .usage(
                "--dp \(data) × --tp \(tensor) is a mesh of \(data * tensor) ranks, but there are \(worldSize); use "
                    + "--tp \(worldSize / data), or leave one of them out")
        }
        return DenseMesh(dataParallel: data, tensorParallel: tensor)
    }

    /// The way to the coordinator.
    /// - Throws: `WorkerError` that says what an address looks like.
    func access(to coordinator: String) throws(WorkerError) -> CoordinatorAccess {
        try CoordinatorAccess(coordinator, keyFile: keyFile)
    }

    /// The dispatcher that is used.
    var dispatcherName: String { dispatcher ?? PlacementChoice.dispatcher(for: allocator) }

    /// By flag, what all ranks must have alike: what decides on numbers, or on what ranks tell each other. `facts`, but for
    /// paths, at which is compared what is there, and for what machines may have their own of. Of files that are written, and of
    /// `--resume`, `--checkpoint-keep` and `--log-interval`, those of rank 0 count.
    var common: [String: String] {
        var common = facts
        for flag in ["data", "model", "model-config", "threads", "blas", "memory-limit", "dp", "tp"] {
            common[flag] = nil
        }
        common["allocator"] = allocator
        common["evaluation-interval"] = "\(evaluationInterval)"
        common["evaluation-batches"] = "\(evaluationBatches)"
        common["benchmark-even-routing"] = "\(benchmarkEvenRouting)"
        // Each machine may have its own way there.
        common["coordinator"] = coordinator.map { _ in "given" }
        common["placement-replay"] = placementReplay.map { _ in "given" }
        common["checkpoint-directory"] = checkpointDirectory.map { _ in "given" }
        return common
    }

    /// What the coordinator shows people of this run.
    var facts: [String: String] {
        var facts = [
            "data": data, "steps": "\(steps)", "batch-size": "\(batchSize)", "sequence-length": "\(sequenceLength)",
            "micro-batches": "\(microBatches)", "data-order": dataOrder.rawValue, "seed": "\(seed)",
            "learning-rate": "\(schedule.learningRate)", "learning-rate-schedule": schedule.shape.rawValue,
            "minimum-learning-rate": "\(schedule.minimum)", "warmup-steps": "\(schedule.warmupSteps)",
            "beta1": "\(beta1)", "beta2": "\(beta2)", "epsilon": "\(epsilon)", "weight-decay": "\(weightDecay)",
            "gradient-clip": "\(gradientClip)", "on-nonfinite": onNonFinite.rawValue, "dispatcher": dispatcherName,
            "optimizer-placement": optimizerPlacement.rawValue, "threads": "\(threads)",
            "dtype": precision.rawValue, "blas": matrixLibrary.rawValue, "overlap": overlap.text,
            "report-interval": "\(reportInterval)", "recompute": recomputation.rawValue,
        ]
        facts["dp"] = dataParallel.map { "\($0)" }
        facts["tp"] = tensorParallel.map { "\($0)" }
        facts["migration-budget"] = migrationBudgetBytes.map { "\($0)" }
        facts["memory-limit"] = memoryLimitBytes.map { "\($0)" }
        facts["checkpoint-directory"] = checkpointDirectory
        if checkpointInterval > 0 { facts["checkpoint-interval"] = "\(checkpointInterval)" }
        facts["model"] = model
        facts["model-config"] = modelConfiguration
        facts["auxiliary-loss"] = auxiliaryLoss.map { "\($0)" }
        if let capacity {
            facts["capacity-factor"] = "\(capacity.factor)"
            facts["drop-policy"] = capacity.dropPolicy.rawValue
            facts["pad-to-capacity"] = "\(capacity.pads)"
        }
        return facts.mapValues { $0.fitting(bytes: Limits.standard.configurationValueBytes) }
    }
}
