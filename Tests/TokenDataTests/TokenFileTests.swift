import Foundation
import Randomness
import Testing
import TokenData

@Suite struct TokenFileTests {
    @Test func readsLittleEndian() throws {
        let directory = try TemporaryDirectory()
        let file = try TokenFile(
            path: directory.write([0x01, 0x00, 0x02, 0x01, 0xff, 0xff], to: "t.bin"), vocabularySize: 65_536)
        #expect(file.tokens == [1, 258, 65_535])
    }

    @Test func missingFilesAreNamed() {
        let error = #expect(throws: TokenDataError.self) {
            try TokenFile(path: "/nowhere/train.bin", vocabularySize: 10)
        }
        #expect(error == .unreadable(file: "/nowhere/train.bin", reason: "No such file or directory"))
    }

    @Test func directoriesAreNoFiles() throws {
        let directory = try TemporaryDirectory()
        #expect(throws: TokenDataError.self) { try TokenFile(path: directory.path, vocabularySize: 10) }
    }

    @Test(arguments: [0, 1, 3, 4097])
    func emptyAndOddSizesAreRefused(bytes: Int) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write([UInt8](repeating: 0, count: bytes), to: "t.bin")
        #expect(
            throws: bytes == 0 ? .empty(file: path) : TokenDataError.oddSize(file: path, bytes: bytes, tokenBytes: 2)
        ) {
            try TokenFile(path: path, vocabularySize: 10)
        }
    }

    /// Every position, in the blocks that are compared at a time and after them.
    @Test(arguments: [1, 31, 32, 33, 64, 100])
    func aTokenOutsideTheVocabularyIsFound(count: Int) throws {
        let directory = try TemporaryDirectory()
        for position in 0..<count {
            var tokens = [UInt16](repeating: 9, count: count)
            tokens[position] = 10
            // A later one is not the first.
            tokens[count - 1] = max(tokens[count - 1], position < count - 1 ? 11 : 10)
            let path = try directory.write(tokens: tokens)
            let expected = TokenDataError.tokenOutsideVocabulary(
                file: path, position: position, token: 10, vocabularySize: 10)
            #expect(throws: expected) { try TokenFile(path: path, vocabularySize: 10) }
            #expect(try TokenFile(path: path, vocabularySize: 12).count == count)
        }
    }

    @Test(arguments: [65_535, 65_536, Int.max])
    func theLargestTokenHasItsVocabulary(vocabularySize: Int) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(tokens: [0, 65_535])
        let isKnown = vocabularySize > 65_535
        let file = try? TokenFile(path: path, vocabularySize: vocabularySize)
        #expect((file != nil) == isKnown)
    }

    @Test(arguments: [0, -1])
    func nothingIsInAnEmptyVocabulary(vocabularySize: Int) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(tokens: [0])
        #expect(throws: TokenDataError.self) { try TokenFile(path: path, vocabularySize: vocabularySize) }
    }

    /// Also where both do not know the token, the data is at fault.
    @Test(arguments: [8, 9, 12])
    func aTokenThatMetadataDoesNotKnowIsFound(vocabularySize: Int) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(tokens: [0, 8, 10])
        let error = TokenDataError.tokenOutsideMetadata(file: path, position: 2, token: 10, vocabularySize: 10)
        let ofModel = TokenDataError.tokenOutsideVocabulary(file: path, position: 1, token: 8, vocabularySize: 8)
        #expect(throws: vocabularySize == 8 ? ofModel : error) {
            try TokenFile(path: path, vocabularySize: vocabularySize, metadataVocabularySize: 10)
        }
        #expect(try TokenFile(path: path, vocabularySize: 12, metadataVocabularySize: 11).count == 3)
    }

    @Test func readsFourBytesATokenWhenTold() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write([1, 0, 0, 0, 0x70, 0x51, 0x02, 0], to: "t.bin")
        let file = try TokenFile(path: path, vocabularySize: 151_921, tokenBytes: 4)
        #expect(file.tokens == [1, 151_920])
        let source = try BatchSource(file: file, sequenceLength: 1, batchSize: 1, order: .sequential)
        #expect(source.batch(step: 0, sequences: 0..<1).targets == [151_920])
        #expect(
            throws: TokenDataError.tokenOutsideVocabulary(
                file: path, position: 1, token: 151_920, vocabularySize: 151_920)
        ) { try TokenFile(path: path, vocabularySize: 151_920, tokenBytes: 4) }
        let cut = try directory.write([1, 0, 0, 0, 1, 0], to: "t.bin")
        #expect(throws: TokenDataError.oddSize(file: cut, bytes: 6, tokenBytes: 4)) {
            try TokenFile(path: cut, vocabularySize: 10, tokenBytes: 4)
        }
        let huge = try directory.write([0xFF, 0xFF, 0xFF, 0xFF], to: "t.bin")
        #expect(throws: TokenDataError.self) { try TokenFile(path: huge, vocabularySize: .max, tokenBytes: 4) }
    }

    @Test func errorsSayWhatToDo() {
        let error = TokenDataError.tokenOutsideVocabulary(file: "t.bin", position: 7, token: 300, vocabularySize: 256)
        #expect(
            error.description
                == "t.bin: token 300 at position 7 is outside the model's vocabulary of 256; set vocab_size in the model's "
                + "config.json to at least 301, or prepare the data with the model's tokenizer")
    }
}
