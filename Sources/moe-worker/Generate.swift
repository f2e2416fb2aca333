import ArgumentParser
import Files
import Foundation
import MPIMessagePassing
import WorkerRuntime

/// `moe-worker generate`.
struct Generate: RankCommand {
    static let configuration = CommandConfiguration(
        abstract: "Samples text from a checkpoint that training saved.",
        discussion: "The same seed gives the same text. Works under mpirun as alone.")

    @OptionGroup(title: "Text")
    var text: TextOptions

    @OptionGroup(title: "Ranks")
    var world: WorldOptions

    func run(in world: World) throws {
        var options = GenerationOptions(
            model: text.model, prompt: text.prompt, length: text.length, temperature: text.temperature,
            topK: text.topK, seed: text.seed)
        options.contextLength = text.contextLength
        options.allocator = text.allocator
        options.dispatcher = text.dispatcher
        let generator = try TextGenerator(options: options, communicator: world.communicator, nodes: world.nodes)
        func write(_ bytes: [UInt8]) throws { try StandardOutput.toReader { try StandardOutput.write(Data(bytes)) } }
        try generator.run(write: write)
        try world.communicator.agree {
            if world.communicator.rank == 0 { try write([UInt8(ascii: "\n")]) }
        }
    }
}
