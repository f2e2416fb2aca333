import Checkpoints
import ControlProtocol
import ExpertParallelism
import ExpertPlacement
import Foundation
import MessagePassing
import Mixtral
import TokenData

/// What a training run would be: all that is read at its start is read and checked, and nothing is written, told to a coordinator,
/// or trained.
public struct DryRun: Sendable, Encodable {
    /// The run's name; nil: it gets one when it starts.
    public let run: String?
    public let layers: Int
    /// Those of them that have experts.
    public let expertLayers: Int
    public let expertsPerLayer: Int
    public let expertsPerToken: Int
    public let hiddenSize: Int
    /// Of experts; nil: they have several widths.
    public let intermediateSize: Int?
    /// From the least to the largest.
    public let expertWidths: ClosedRange<Int>
    /// Weights of the whole model, of its experts, and those that one token meets: of experts of several widths, in the mean.
    public let parameters: Int
    public let expertParameters: Int
    public let activeParameters: Int
    /// Groups of ranks, and ranks of a group, that share what all tokens go through.
    public let dataParallel: Int
    public let tensorParallel: Int
    /// Sequences of all ranks in a step, and tokens of each.
    public let batchSize: Int
    public let sequenceLength: Int
    public let microBatches: Int
    /// Steps in all, and those that are done already.
    public let steps: Int
    public let completedSteps: Int
    /// What it goes on from; nil: it begins.
    public let checkpoint: String?
    public let dispatcher: String
    public let ownership: OwnershipPolicy
    public let plan: PlacementPlan
    /// Whose plan it is, for people to read.
    public let origin: String
    /// Bytes that each rank may use for experts; nil: not known, because the ranks are not here.
    public let memoryLimits: [Int]?
    public let ranks: [RankMemory]

    private enum CodingKeys: String, CodingKey {
        case run, layers, parameters, steps, checkpoint, dispatcher, ownership, plan, origin, ranks
        case expertLayers = "expert_layers"
        case expertsPerLayer = "experts_per_layer"
        case expertsPerToken = "experts_per_token"
        case hiddenSize = "hidden_size"
        case intermediateSize = "intermediate_size"
        case expertParameters = "expert_parameters"
        case activeParameters = "active_parameters"
        case dataParallel = "data_parallel"
        case tensorParallel = "tensor_parallel"
        case batchSize = "batch_size"
        case sequenceLength = "sequence_length"
        case microBatches = "micro_batches"
        case completedSteps = "completed_steps"
        case memoryLimits = "memory_limits"
    }

    /// Collective.
    /// - Parameters:
    ///   - communicator: the ranks that run, or one that stands for all.
    ///   - nodes: the node of each rank.
    /// - Throws: `JobFailure` on all ranks, with what would keep the run from starting.
    public init(options: TrainingOptions, communicator: any Communicator, nodes: [Int]) throws {
        let inputs = try TrainingInputs.agreed(
            options, worldSize: nodes.count, isDryRun: true, communicator: communicator)
        let resume = try ResumePoint.find(options, inputs, communicator: communicator)
        let manifest = resume?.manifest
        let configuration = inputs.configuration
        let model = ExpertModel(configuration)
        // One rank cannot tell what others have.
        let limits: [Int]? =
            if communicator.size == nodes.count {
                try Cluster.memoryLimits(nodes, options.memoryLimitBytes, communicator)
            } else {
                options.memoryLimitBytes.map { [Int](repeating: $0, count: nodes.count) }
            }
        let cluster = Cluster(nodes: nodes, memoryLimits: limits, ownership: options.optimizerPlacement)
        let run = options.run ?? manifest?.run
        (plan, origin) = try communicator.agree {
            try Self.checkOutput(options)
            if let coordinator = options.coordinator,
                let plan = try Self.activePlan(of: run, at: options.access(to: coordinator), options, model, cluster)
            {
                return (plan, "the coordinator at \(coordinator)")
            }
            let replay = try options.placementReplay.map {
                try PlacementReplay(path: $0, cluster: cluster, completedSteps: manifest?.step ?? 0)
            }
            // A program decides from measurements.
            let isProgram = PlacementChoice.isProgram(options.allocator)
            let allocator = isProgram ? "expert-parallel" : options.allocator
            let plan = try PlacementChoice.plan(
                replay: replay, after: manifest, allocator: allocator, model: model, cluster: cluster)
            if let replay = options.placementReplay { return (plan, replay) }
            if let resume, resume.manifest.plan.revision == plan.revision { return (plan, resume.checkpoint.path) }
            return (
                plan, "the allocator \(allocator)" + (isProgram ? ", until \(options.allocator) has measurements" : "")
            )
        }
        self.run = run
        layers = configuration.layers
        expertLayers = configuration.sparseLayers.count
        expertsPerLayer = configuration.experts
        expertsPerToken = configuration.expertsPerToken
        hiddenSize = configuration.hiddenSize
        let widths = configuration.widths.distinct
        intermediateSize = widths.count == 1 ? widths.first : nil
        expertWidths = (widths.min() ?? 0)...(widths.max() ?? 0)
        parameters = configuration.parameterCount
        expertParameters = configuration.expertParameterCount
        activeParameters =
            parameters - expertParameters + expertParameters / configuration.experts * configuration.expertsPerToken
        (dataParallel, tensorParallel) = (inputs.mesh.dataParallel, inputs.mesh.tensorParallel)
        (batchSize, sequenceLength) = (options.batchSize, options.sequenceLength)
        microBatches = options.microBatches
        (steps, completedSteps) = (options.steps, manifest?.step ?? 0)
        checkpoint = resume?.checkpoint.path
        dispatcher = options.dispatcherName
        ownership = options.optimizerPlacement
        memoryLimits = limits
        ranks = RankMemory.all(
            configuration, plan: plan, options: options, mesh: inputs.mesh,
            dataBytes: inputs.training.file.sizeBytes + (inputs.validation?.file.sizeBytes ?? 0))
    }

    /// The plan of a run that the coordinator knows; nil when it does not, or would make another one for these ranks.
    private static func activePlan(
        of run: String?, at coordinator: CoordinatorAccess, _ options: TrainingOptions, _ model: ExpertModel,
        _ cluster: Cluster
    ) throws -> PlacementPlan? {
        try coordinator.checkKey()
        func ask<Request: ControlRequest>(_ request: Request) throws -> Request.Reply? {
            do {
                return try coordinator.ask(
                    request, for: "to tell of the run", within: .seconds(options.coordinatorTimeoutSeconds),
                    passing: { $0.code == .unknownRun })
            } catch is ControlError {
                return nil
            }
        }
        // Without a name the answer says only that there is one.
        guard let known = try ask(ShowRun(run: run)), let run, known.summary.allocator == options.allocator,
            known.model == model, let placement = try ask(ShowPlacement(run: run))
        else { return nil }
        return try? placement.plan.adapted(to: model, cluster: cluster)
    }

    /// What a run leaves behind can be written where it is to be.
    private static func checkOutput(_ options: TrainingOptions) throws(WorkerError) {
        for (flag, path, isDirectory) in [
            ("--checkpoint-directory", options.checkpointDirectory, true), ("--metrics", options.metrics, false),
            ("--csv", options.csv, false), ("--tensorboard", options.tensorBoard, true),
            ("--placement-log", options.placementLog, false),
        ] {
            guard let path else { continue }
            var place = URL(fileURLWithPath: path)
            // Directories are made, with those on the way; those of files are not.
            var steps = isDirectory ? Int.max : 1
            while access(place.path, F_OK) != 0, errno == ENOENT, steps > 0, place.path != "/" {
                place.deleteLastPathComponent()
                steps -= 1
            }
            guard access(place.path, W_OK) == 0 else {
                throw .failed("\(flag) \(path) cannot be written: \(place.path): \(String(cString: strerror(errno)))")
            }
        }
    }
}
