import ArgumentParser
import Listings
import Mixtral
import Upcycling

struct ModelCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model", abstract: "Make models to begin with.", subcommands: [Upcycle.self])

    struct Upcycle: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "upcycle",
            abstract: "Make a mixture of experts of a dense model.",
            discussion: """
                Each expert begins as a copy of its layer's dense network, routers are drawn, and all else stays as it is (Sparse \
                Upcycling, arXiv:2212.05055). A Llama or Mistral becomes a mixtral, a Qwen2 a qwen2_moe, a Qwen3 a qwen3_moe. Without \
                noise the new model computes what the dense one does.

                With --expert-width, experts are slices of copies: neighbours make up one, and a token gets whole copies at first \
                (virtual groups, arXiv:2410.07524). Numbers of experts count slices.
                """)

        @Argument(
            help: ArgumentHelp("The dense model: a directory with config.json and safetensors.", valueName: "dense"),
            completion: .directory)
        var dense: String

        @Option(
            help: ArgumentHelp("The new directory; it appears when it is complete.", valueName: "directory"),
            completion: .directory)
        var output: String

        @Option(help: ArgumentHelp("Experts a layer.", valueName: "e"))
        var experts: Int

        @Option(help: ArgumentHelp("Experts that a token goes to.", valueName: "k"))
        var expertsPerToken: Int

        @Option(
            help: ArgumentHelp(
                "Neurons an expert, a divisor of the dense network's (default: as many as the dense network has).",
                valueName: "n"))
        var expertWidth: Int?

        @Option(
            help: ArgumentHelp(
                """
                Standard deviation of normal noise on experts' weights, in root mean squares of the dense matrix; 0 is none.
                """, valueName: "x"))
        var noise = 0.0

        @Option(help: ArgumentHelp("Decides routers and noise.", valueName: "n"))
        var seed: UInt64 = 0

        @Flag(help: "Change nothing; show what would be.")
        var dryRun = false
        @OptionGroup var outputOptions: ListingOptions

        private var upcycling: Upcycling {
            Upcycling(
                experts: experts, expertsPerToken: expertsPerToken, expertWidth: expertWidth, noise: noise, seed: seed)
        }

        func validate() throws {
            do {
                try upcycling.validate()
            } catch {
                throw ValidationError(error.description)
            }
        }

        func run() throws {
            try OutputDirectory.check(output)
            let model = try UpcycledModel(dense: dense, upcycling)
            if !dryRun { _ = try model.write(to: output) }
            let report = Report(model, path: output, expertsPerToken: expertsPerToken)
            try outputOptions.write(report) { [.details(report.details, isDryRun: dryRun)] }
        }

        private struct Report: Encodable {
            let model: String
            let modelType: String
            let denseType: String
            let layers: Int
            let experts: Int
            let expertsPerToken: Int
            let expertWidth: Int
            let parameters: Int
            let bytes: Int

            init(_ upcycled: UpcycledModel, path: String, expertsPerToken: Int) {
                model = path
                modelType = upcycled.mixtureType
                denseType = upcycled.denseType
                layers = upcycled.configuration.layers
                experts = upcycled.configuration.experts
                self.expertsPerToken = expertsPerToken
                expertWidth = upcycled.expertWidth
                parameters = upcycled.configuration.parameterCount
                bytes = upcycled.bytes
            }

            private enum CodingKeys: String, CodingKey {
                case model, layers, experts, parameters, bytes
                case modelType = "model_type"
                case denseType = "dense_type"
                case expertsPerToken = "experts_per_token"
                case expertWidth = "expert_width"
            }

            var details: [(name: String, value: String)] {
                [
                    ("Model", model), ("Type", "\(modelType), from \(denseType)"), ("Layers", "\(layers)"),
                    ("Experts", "\(experts) of \(expertWidth) neurons, \(expertsPerToken) a token"),
                    ("Parameters", "\(parameters)"), ("Weights", Readable.bytes(bytes)),
                ]
            }
        }
    }
}
