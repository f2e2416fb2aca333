import ArgumentParser
import Files
import Foundation
import Listings
import MPIMessagePassing
import MessagePassing
import Tensors
import WorkerRuntime

/// `moe-worker`, `moe-worker train`.
struct Train: RankCommand {
    static let configuration = CommandConfiguration(
        abstract: "Trains a mixture of experts: a Mixtral, OLMoE, Qwen-MoE, dots.llm1 or DeepSeekMoE.",
        usage: "mpirun -n <w> moe-worker --data <dir> (--model <dir> | --model-config <file>) --steps <n> "
            + "--batch-size <b> --sequence-length <t> [<options>]")

    @OptionGroup(title: "Data and model")
    var input: InputOptions

    @OptionGroup(title: "Optimization")
    var optimization: OptimizationOptions

    @OptionGroup(title: "Placement and coordinator")
    var placement: PlacementOptions

    @OptionGroup(title: "Ranks without a launcher")
    var apart: RendezvousFlags

    @OptionGroup(title: "Output")
    var output: OutputOptions

    @OptionGroup(title: "Dry run")
    var rehearsal: DryRunOptions

    @OptionGroup(title: "Ranks")
    var world: WorldOptions

    var isDryRun: Bool { rehearsal.dryRun }

    /// In the environment the form of output may be meant for other programs.
    func validate(commandLine: [String]) throws {
        let isFormatGiven = commandLine.contains { $0 == "-o" || $0 == "--format" || $0.hasPrefix("--format=") }
        guard isDryRun || !isFormatGiven else {
            throw WorkerError.usage("--format is the form of what --dry-run prints; add --dry-run, or leave it out")
        }
    }

    func rendezvous(rank: Int, worldSize: Int) throws -> RendezvousOptions? {
        guard let coordinator = placement.coordinator else {
            throw WorkerError.usage(
                "without a launcher, --rank and --world-size need --coordinator, where the ranks find each other; or use "
                    + "mpirun -n \(worldSize) moe-worker …")
        }
        var options = RendezvousOptions(
            rank: rank, worldSize: worldSize, run: placement.run, coordinator: coordinator,
            keyFile: placement.namedKeyFile)
        apart.apply(to: &options)
        return options
    }

    func run(in world: World) throws {
        let options = trainingOptions
        MatrixLibrary.configure(options.matrixLibrary)
        // What is not available, the trainer refuses.
        if options.precision.obstacle == nil { Precision.configure(options.precision) }
        if isDryRun {
            let dryRun = try DryRun(options: options, communicator: world.communicator, nodes: world.nodes)
            try world.communicator.agree { if world.communicator.rank == 0 { try show(dryRun) } }
            return
        }
        let display = ProgressDisplay(
            steps: options.steps, interval: max(1, options.logInterval),
            isTerminal: TerminalDetection.isTerminal(STDOUT_FILENO, environment: world.environment))
        // Without checkpoints a signal ends the process, as usual.
        let requests = options.checkpointDirectory == nil ? CheckpointRequests() : CheckpointRequests.fromSignals()
        try Trainer(
            options: options, communicator: world.communicator, nodes: world.nodes, display: display, requests: requests
        ).run()
    }

    func rehearse(worldSize: Int) throws {
        let options = trainingOptions
        MatrixLibrary.configure(options.matrixLibrary)
        let outcomes = try ThreadCommunicator.run(worldSize: 1) { communicator in
            Result {
                try DryRun(
                    options: options, communicator: communicator, nodes: [Int](repeating: 0, count: worldSize))
            }
        }
        for outcome in outcomes { try show(outcome.get()) }
    }

    private func show(_ dryRun: DryRun) throws {
        try StandardOutput.toReader { try rehearsal.listing.write(dryRun) { DryRunReport(dryRun: dryRun).tables } }
    }

    private var trainingOptions: TrainingOptions {
        var options = TrainingOptions(
            data: input.data, steps: input.steps, batchSize: input.batchSize, sequenceLength: input.sequenceLength,
            schedule: optimization.schedule(steps: input.steps))
        input.apply(to: &options)
        optimization.apply(to: &options)
        placement.apply(to: &options)
        output.apply(to: &options)
        options.threads = world.threads
        return options
    }
}

/// What would be, without training.
struct DryRunOptions: ParsableArguments {
    @Flag(
        help: ArgumentHelp(
            "Reads and checks all that a start reads, prints parameters, memory per rank and the placement, and ends. Alone, "
                + "without a launcher, --world-size says for how many ranks."))
    var dryRun = false

    @OptionGroup var listing: ListingOptions
}
