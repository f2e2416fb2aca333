import ArgumentParser
import Foundation
import WorkerRuntime

/// `moe-worker`, `moe-worker train`.
struct Train: RankCommand {
    static let configuration = CommandConfiguration(
        abstract: "Trains a Mixtral.",
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

    @OptionGroup(title: "Ranks")
    var world: WorldOptions

    func rendezvous(rank: Int, worldSize: Int) throws -> RendezvousOptions? {
        guard let coordinator = placement.coordinator else {
            throw WorkerError.usage(
                "without a launcher, --rank and --world-size need --coordinator, where the ranks find each other; or use "
                    + "mpirun -n \(worldSize) moe-worker …")
        }
        var options = RendezvousOptions(
            rank: rank, worldSize: worldSize, run: placement.run, coordinator: coordinator, keyFile: placement.keyFile)
        apart.apply(to: &options)
        return options
    }

    func run(in world: World) throws {
        var options = TrainingOptions(
            data: input.data, steps: input.steps, batchSize: input.batchSize, sequenceLength: input.sequenceLength,
            schedule: optimization.schedule(steps: input.steps))
        input.apply(to: &options)
        optimization.apply(to: &options)
        placement.apply(to: &options)
        output.apply(to: &options)
        options.threads = self.world.threads
        let display = ProgressDisplay(
            steps: options.steps, interval: max(1, options.logInterval),
            isTerminal: TerminalDetection.isTerminal(STDOUT_FILENO, environment: world.environment))
        // Without checkpoints a signal ends the process, as usual.
        let requests = options.checkpointDirectory == nil ? CheckpointRequests() : CheckpointRequests.fromSignals()
        try Trainer(
            options: options, communicator: world.communicator, nodes: world.nodes, display: display, requests: requests
        ).run()
    }
}
