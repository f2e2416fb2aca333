import Checkpoints
import ControlTestSupport
import Foundation
import Testing

@Suite struct CheckpointSchemaTests {
    /// What is written is what the schema says, and the schema says nothing else.
    @Test func manifestsAreValid() throws {
        try withTemporaryDirectory { directory in
            let path = try SmallCheckpoint.write(SmallCheckpoint.claim(directory), step: 7)
            let manifest = try JSONValue(Data(contentsOf: URL(fileURLWithPath: "\(path)/checkpoint.json")))
            let validator = try SchemaValidator()
            #expect(try validator.problems(of: manifest, schema: "checkpoint") == [])
            guard case .object(let fields) = manifest else {
                Issue.record("\(manifest)")
                return
            }
            #expect(fields["digest"] != nil)
            for name in fields.keys {
                // Earlier releases wrote no digest.
                for value in [nil, JSONValue.null] where name != "digest" || value != nil {
                    var spoilt = manifest
                    spoilt[name] = value
                    #expect(try !validator.problems(of: spoilt, schema: "checkpoint").isEmpty, "\(name)")
                }
            }
            var earlier = manifest
            earlier["data"]?["tokens_digest"] = nil
            earlier["digest"] = nil
            #expect(earlier != manifest)
            #expect(try validator.problems(of: earlier, schema: "checkpoint") == [])
            var extended = manifest
            extended["surprise"] = 1
            #expect(try !validator.problems(of: extended, schema: "checkpoint").isEmpty)
        }
    }
}
