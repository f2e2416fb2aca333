import ArgumentParser
import ExpertParallelism
import ExpertPlacement
import Foundation
import MPIMessagePassing
import WorkerRuntime

/// `moe-worker generate`.
struct Generate: RankCommand {
    static let configuration = CommandConfiguration(
        abstract: "Samples text from a checkpoint that training saved.",
        discussion: "The same seed gives the same text. Works under mpirun as alone.")

    @Option(help: ArgumentHelp("The checkpoint: config.json, model.safetensors, meta.json.", valueName: "dir"))
    var model: String

    @Option(help: ArgumentHelp("What the text begins with.", valueName: "text"))
    var prompt = ""

    @Option(help: ArgumentHelp("Tokens to generate.", valueName: "n"))
    var length = 500

    @Option(help: ArgumentHelp("Divides the logits; 0: always the most likely token.", valueName: "x"))
    var temperature = 0.8

    @Option(help: ArgumentHelp("Choose among so many of the most likely tokens; 0: all.", valueName: "n"))
    var topK = 0

    @Option(help: ArgumentHelp("Decides the random choices.", valueName: "n"))
    var seed: UInt64 = 0

    @Option(
        help: ArgumentHelp(
            "Placement of the experts: \(Allocators.names.joined(separator: ", ")).", valueName: "name"))
    var allocator = Allocators.defaultName

    @Option(
        help: ArgumentHelp(
            "Choice of replicas: \(TokenDispatchers.names.joined(separator: ", ")).", valueName: "name"))
    var dispatcher = TokenDispatchers.defaultName

    @OptionGroup(title: "Ranks")
    var world: WorldOptions

    func run(in world: World) throws {
        var options = GenerationOptions(
            model: model, prompt: prompt, length: length, temperature: temperature, topK: topK, seed: seed)
        options.allocator = allocator
        options.dispatcher = dispatcher
        let generator = try TextGenerator(options: options, communicator: world.communicator, nodes: world.nodes)
        // A reader that has gone does not matter.
        func write(_ bytes: [UInt8]) { try? FileHandle.standardOutput.write(contentsOf: Data(bytes)) }
        try generator.run(write: write)
        if world.communicator.rank == 0 { write([UInt8(ascii: "\n")]) }
    }
}
