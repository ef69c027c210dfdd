;; Has more memory than it may have from the start.
(memory $second 2000)
(func $describe (result i32) (i32.const 2048))
(func $run (param i32 i32) (result i32) (i32.const 512))
