import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import Mixtral
import Tensors
import TokenData

/// Samples text from a saved checkpoint, through the same expert-parallel path as training. Rank 0 has the one sequence; the
/// other ranks take part with their experts.
public final class TextGenerator {
    private let options: GenerationOptions
    private let communicator: any Communicator
    private let model: MixtralModel
    private let context: ExpertParallelContext
    private let tokenizer: Tokenizer
    private let prompt: [Int32]

    /// Loads the checkpoint. Collective.
    /// - Parameter nodes: the node of each rank.
    /// - Throws: `JobFailure` on all ranks when one could not.
    public init(options: GenerationOptions, communicator: any Communicator, nodes: [Int]) throws {
        self.options = options
        self.communicator = communicator
        let context = ExpertParallelContext(communicator: communicator)
        self.context = context
        (model, tokenizer, prompt) = try communicator.agree {
            try options.validate()
            let checkpoint = try MixtralCheckpoint(directory: options.model)
            let configuration = checkpoint.configuration
            let (tokenizer, prompt) = try Self.encodePrompt(options, vocabularySize: configuration.vocabularySize)
            let model = MixtralModel(configuration: configuration, timer: context.timer)
            try parallelizeExperts(
                in: model, matching: MixtralModel.expertsPattern,
                allocator: Allocators.make(named: options.allocator),
                dispatcher: TokenDispatchers.make(named: options.dispatcher, seed: options.seed),
                configuration: ParallelConfiguration(
                    layers: configuration.sparseLayers.count, expertsPerLayer: .uniform(configuration.experts),
                    context: context,
                    plan: PlacementChoice.firstPlan(
                        allocator: options.allocator, model: ExpertModel(configuration), cluster: Cluster(nodes: nodes))
                ))
            try model.loadWeights(from: checkpoint.weights)
            return (model, tokenizer, prompt)
        }
    }

    private static func encodePrompt(
        _ options: GenerationOptions, vocabularySize: Int
    ) throws -> (Tokenizer, [Int32]) {
        guard let tokenizer = try Tokenizer.of(directory: options.model) else {
            throw WorkerError.failed(
                "\(options.model) has no meta.json, which says how text becomes tokens, and no tokenizer.json; copy those of "
                    + "the data there")
        }
        guard tokenizer.vocabularySize <= vocabularySize else {
            throw WorkerError.failed(
                "the tokenizer of \(options.model) has \(tokenizer.vocabularySize) tokens, the model only "
                    + "\(vocabularySize): they do not belong together")
        }
        do {
            let prompt = try tokenizer.encode(options.prompt)
            if !prompt.isEmpty { return (tokenizer, prompt) }
        } catch {
            throw WorkerError.usage("--prompt: \(error)")
        }
        // Something must come first: a line's end where the tokenizer has one, as nanoGPT's samples begin. Some refuse it, of
        // others it has no tokens, for they leave blanks out.
        let lineEnd = (try? tokenizer.encode("\n")) ?? []
        return (tokenizer, lineEnd.isEmpty ? [0] : lineEnd)
    }

    /// Generates, until the model ends the text or it is as long as it may be. Collective.
    /// - Parameter write: gets the prompt's text, then that of each new token, on rank 0 only. Except for the tokenizer `bytes`,
    ///   whose bytes may be anything, that is valid UTF-8: parts of characters wait for the others. The token that ends the text has none.
    /// - Throws: `JobFailure` on all ranks, also when rank 0 cannot write.
    public func run(write: ([UInt8]) throws -> Void) throws {
        var stream = tokenizer.kind == .bytes ? nil : UTF8Stream()
        func show(_ tokens: [Int32]) throws {
            let bytes = tokenizer.bytes(of: tokens)
            let text = stream?.append(bytes) ?? bytes
            if !text.isEmpty { try write(text) }
        }
        let sampler = TokenSampler(temperature: options.temperature, topK: options.topK, seed: options.seed)
        let hasSequence = communicator.rank == 0
        let endTokens = Set(model.configuration.endTokens.map(Int32.init))
        let window = min(model.configuration.maximumPositions, options.contextLength ?? .max)
        var tokens = prompt
        try communicator.agree { if hasSequence { try show(prompt) } }
        for index in 0..<options.length {
            // All ranks know how many tokens rank 0 has, and need no more.
            let visible = min(tokens.count, window)
            context.step = index
            context.firstToken = 0
            let logits = try model.lastLogits(
                tokens: hasSequence ? Array(tokens.suffix(visible)) : [], sequences: hasSequence ? 1 : 0,
                sequenceLength: visible)
            var next: [Int32] = [0]
            try communicator.agree {
                guard hasSequence else { return }
                let last = logits.columns(0..<tokenizer.vocabularySize).array
                guard last.allSatisfy(\.isFinite) else {
                    throw WorkerError.failed("\(options.model): the model's logits are not finite; it cannot be used")
                }
                next = [Int32(sampler.sample(last, index: index))]
                if !endTokens.contains(next[0]) { try show(next) }
            }
            // So that all ranks stop with rank 0.
            var token = next.mutableSpan
            try communicator.broadcast(&token, root: 0)
            if endTokens.contains(next[0]) { break }
            tokens += next
        }
        try communicator.agree {
            if hasSequence, let rest = stream?.finish(), !rest.isEmpty { try write(rest) }
        }
    }
}
