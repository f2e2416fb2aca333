import Foundation
import Mixtral
import Testing

@Suite struct MixtralConfigurationFileTests {
    @Test func aMissingFileIsNamed() {
        let path = "/nonexistent/config.json"
        let error = #expect(throws: MixtralConfigurationError.self) { try MixtralConfiguration(file: path) }
        #expect(error?.code == .unreadable && error?.file == path)
    }

    @Test func errorsNameTheFile() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(#"{"hidden_size": "wide"}"#.utf8).write(to: file)
        let error = #expect(throws: MixtralConfigurationError.self) { try MixtralConfiguration(file: file.path) }
        #expect(error.map { "\($0)".hasPrefix(file.path) } == true)
    }

    @Test(arguments: [
        try MixtralConfiguration(
            vocabularySize: 65, hiddenSize: 128, intermediateSize: 256, layers: 4, heads: 4, experts: 8),
        try MixtralConfiguration(
            vocabularySize: 300, hiddenSize: 96, intermediateSize: 17, layers: 1, heads: 6, keyValueHeads: 3,
            headDimension: 20, experts: 5, expertsPerToken: 3, maximumPositions: 77, rmsNormEpsilon: 1e-6,
            ropeTheta: 12345.5, initializerRange: 0.1, routerAuxiliaryLossCoefficient: 0.25,
            outputsRouterLogits: false, beginToken: 1, endTokens: [2, 299], paddingToken: 0),
    ])
    func whatIsWrittenIsReadBack(configuration: MixtralConfiguration) throws {
        #expect(try MixtralConfiguration(json: configuration.json()) == configuration)
    }

    @Test func whatIsWrittenHasTheFieldsThatTransformersNeeds() throws {
        let configuration = try MixtralConfiguration(
            vocabularySize: 65, hiddenSize: 128, intermediateSize: 256, layers: 4, heads: 4, experts: 8,
            ropeTheta: 10_000, endTokens: [7])
        let object = try JSONSerialization.jsonObject(with: configuration.json())
        let fields = try #require(object as? [String: Any])
        #expect(fields["architectures"] as? [String] == ["MixtralForCausalLM"])
        #expect(fields["model_type"] as? String == "mixtral")
        #expect(fields["dtype"] as? String == "float32" && fields["torch_dtype"] as? String == "float32")
        #expect(fields["rope_theta"] as? Double == 10_000)
        let rope = try #require(fields["rope_parameters"] as? [String: Any])
        #expect(rope["rope_theta"] as? Double == 10_000 && rope["rope_type"] as? String == "default")
        #expect(fields["bos_token_id"] is NSNull && fields["eos_token_id"] as? Int == 7)
        #expect(fields["sliding_window"] is NSNull)

        // transformers 5 refuses a whole number where it has a real one.
        let text = String(decoding: configuration.json(), as: UTF8.self)
        #expect(text.contains(#""rope_theta": 10000.0"#) && text.contains(#""router_jitter_noise": 0.0"#))
    }
}
