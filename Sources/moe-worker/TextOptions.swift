import ArgumentParser
import ExpertParallelism
import ExpertPlacement

/// Which text to sample.
struct TextOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The checkpoint: config.json, model.safetensors, meta.json or tokenizer.json.", valueName: "dir"))
    var model: String

    @Option(help: ArgumentHelp("What the text begins with.", valueName: "text"))
    var prompt = ""

    @Option(
        help: ArgumentHelp(
            "Tokens to generate at most; the text ends before where the model ends it (eos_token_id of config.json).",
            valueName: "n"))
    var length = 500

    @Option(help: ArgumentHelp("Divides the logits; 0: always the most likely token.", valueName: "x"))
    var temperature = 0.8

    @Option(help: ArgumentHelp("Choose among so many of the most likely tokens; 0: all.", valueName: "n"))
    var topK = 0

    @Option(
        help: ArgumentHelp(
            "Tokens that the model sees at most. Best as long as the sequences it was trained on (default: the model's "
                + "max_position_embeddings).", valueName: "n"))
    var contextLength: Int?

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
}
